"""Ingestions as code: YAML files that say which ingestions there are; compared, applied, and written.

files → yaml12 (text as values with their lines) → wanted (values as bodies of the contract) → plan (against what the
service has) → apply. The other way: export.
"""

from autoloader_sdk.errors import MissingExtra

try:
    import yaml  # noqa: F401 - looked for here, once for all modules below
except ModuleNotFoundError as missing:
    if missing.name != "yaml":
        raise
    raise MissingExtra("Reading and writing ingestions as YAML", "code") from missing
