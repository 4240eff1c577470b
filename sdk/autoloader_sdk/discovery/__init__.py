"""What is at a source: listing, matching, classing and a first look into files. No Spark, no server."""
