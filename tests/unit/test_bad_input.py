"""Each row of docs/bad-input.md is held by tests that are there: which ones, stands here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bad-input.md"

# By the heading, and by what a row begins with: the tests that hold it, as `file:test` without `test_`.
HELD: dict[str, dict[str, str]] = {
    "Files": {
        "folder does not exist": "table_behind_our_back:a_folder_that_does_not_exist_fails_the_run_by_name "
        "what_a_review_found:a_folder_that_became_a_file_does_not_block_the_others "
        "discovery_listing:a_source_that_is_a_file_lists_that_file",
        "folder (or one below it) may not be read": "bad_moments:a_closed_folder_fails_the_run_by_name "
        "discovery_listing:a_forbidden_folder_is_an_error_that_names_it_and_never_left_out",
        "folder without files": "table_behind_our_back:an_empty_folder_is_a_success_that_says_so",
        "file may not be read": "bad_moments:a_closed_file_fails_alone_and_is_loaded_when_it_is_opened "
        "load_s3:one_closed_object_among_many_fails_alone_and_is_taken_up_when_it_is_open",
        "empty file, `_x`": "load_names:hidden_and_empty_files_are_skipped_with_the_reason_and_unreadable_names_fail "
        "discovery_classify:hidden_files_are_those_that_spark_reads_as_nothing",
        "spaces, `%20`": "load_names:each_readable_name_is_loaded_under_its_exact_path "
        "load_s3:each_key_is_loaded_under_its_exact_path",
        "`[1]`, `{a}` in the name": "load_names:names_that_spark_takes_for_patterns_where_records_span_lines",
        "`:` in": "load_names:hidden_and_empty_files_are_skipped_with_the_reason_and_unreadable_names_fail",
        "`//`, a segment": "load_s3:keys_that_no_reader_can_tell_fail_with_the_reason_and_the_rest_is_loaded",
        "vanishes between": "bad_moments:files_that_vanish_or_change_while_they_are_loaded",
        "the store fails where only Spark reads": "store_trouble:what_spark_alone_cannot_read_is_loaded_when_it_can "
        "store_trouble:a_store_is_told_from_a_file",
        "changes between": "bad_moments:files_that_vanish_or_change_while_they_are_loaded",
        "was written less than": "bad_moments:a_file_that_was_written_a_moment_ago_waits_until_it_rests "
        "bad_moments:what_is_written_again_while_it_is_loaded_fails_until_it_rests",
        "changes after it was loaded |": "table_behind_our_back:a_file_that_changed_after_it_was_loaded_is_held "
        "table_behind_our_back:a_file_that_changed_after_it_was_loaded_is_appended_where_the_rule_says_so "
        "replace:the_rows_of_a_changed_file_are_replaced_in_one_snapshot "
        "replace:what_was_held_back_is_loaded_once_the_rule_is_another_one",
        "changes after it was loaded, with": "replace:rows_stay_until_a_version_can_be_loaded "
        "replace:a_file_without_rows_any_more_leaves_none",
        "fewer rows in a batch": "held:too_few_rows_are_loaded_and_the_run_says_so "
        "held:a_held_batch_is_in_no_table_and_each_run_tells_of_it",
        "another ingestion loads": "table_behind_our_back:a_second_ingestion_into_the_table_skips_what_the_first_loads",
        "gzip or bzip2": "load_csv:files_that_are_not_what_they_seem_fail_with_a_sentence "
        "engine_text:compressed_files_are_read_to_their_end_or_refused",
        "`.zst`": "load_csv:files_that_are_not_what_they_seem_fail_with_a_sentence",
        "compressed or binary content": "load_csv:files_that_are_not_what_they_seem_fail_with_a_sentence",
        "bytes that are not of the encoding": "load_csv:bytes_that_are_not_of_the_declared_encoding_fail_the_file "
        "load_csv:a_replacement_character_that_is_really_there_is_loaded",
    },
    "CSV": {
        "another order": "load_csv:columns_land_under_their_names_whatever_their_order",
        "columns that the table lacks": "load_csv:new_columns_are_added_and_their_version_names_the_files "
        "load_csv:new_and_missing_columns_are_ignored_if_told_so_and_the_run_says_which",
        "columns that the file lacks": "load_csv:new_and_missing_columns_are_ignored_if_told_so_and_the_run_says_which",
        "header without rows": "load_csv:a_header_alone_is_loaded_as_no_rows",
        "no name in the header": "load_csv:an_empty_header_name_gets_the_name_of_its_place",
        "names that differ only in case": "load_csv:files_that_are_not_what_they_seem_fail_with_a_sentence",
        "a column called like": "load_csv:a_column_called_like_our_lineage_column_fails_its_file "
        "load_csv:no_table_is_made_with_a_column_called_like_our_lineage_column",
        "too few or too many fields": "load_csv:a_bad_file_fails_alone_and_its_error_shows_the_first_bad_record",
        "a number too wide": "evolution:csv_values_widen_a_column_and_a_file_with_a_worse_one_fails_with_it "
        "evolution:a_csv_number_beyond_a_float_makes_its_column_a_double",
        "more digits after the point": "load_csv:a_value_that_a_decimal_or_a_float_does_not_hold_fails_its_file",
        "no value in a column": "required:of_csv_too required:a_table_of_somebody_else_may_ask_for_values",
        "a quote never closed": "load_csv:files_that_are_not_what_they_seem_fail_with_a_sentence "
        "engine_text:lines_within_quotes_that_rfc_4180_does_not_allow_are_stray",
        "line ends of several kinds": "load_csv:line_ends_may_differ_within_a_file_unless_quotes_hold_some",
        "an unusual `line_separator`": "options:a_file_is_read_by_its_options "
        "engine_text:quotes_are_followed_between_other_delimiters_and_ends_of_lines",
        "a first line of nothing but blanks": "load_csv:files_that_are_not_what_they_seem_fail_with_a_sentence "
        "options:a_file_with_an_end_of_records_of_its_own_that_spark_would_misread_fails",
        "empty lines": "load_csv:empty_lines_are_no_rows_and_an_empty_field_is_null",
        "an empty field": "load_csv:empty_lines_are_no_rows_and_an_empty_field_is_null",
        "integers beyond 64 bits": "load_csv:values_lose_nothing",
        "`yes`, `no`": "load_csv:values_lose_nothing",
        "dates before 1900": "load_csv:values_lose_nothing",
    },
    "JSON": {
        "several objects that run": "load_json:what_spark_would_read_in_part_or_garble_fails_with_a_sentence",
        "something after the value": "load_json:what_spark_would_read_in_part_or_garble_fails_with_a_sentence "
        "load_json:the_same_fails_when_the_table_is_still_to_be_made",
        "a line that is no object": "load_json:what_spark_would_read_in_part_or_garble_fails_with_a_sentence "
        "nested_values:a_file_with_one_fails",
        "a number too wide": "evolution:json_values_widen_a_given_column",
        "single quotes, `NaN`": "load_json:lenient_json_is_loaded_whole",
        "nested more than a thousand deep": "load_json:what_is_too_deep_or_too_large_for_the_worker_fails_alone",
        "a usual end of lines": "load_json:a_usual_end_of_lines_that_is_not_the_files_own_loses_nothing",
        "byte order mark": "load_json:each_layout_is_read_right_whatever_the_option_says",
        "UTF-16": "load_json:each_layout_is_read_right_whatever_the_option_says "
        "load_json:a_declared_encoding_is_read_right",
        "a bad record in another encoding": "load_json:a_bad_record_in_another_encoding_is_shown_as_it_stands_there",
        "half a surrogate pair": "load_json:what_spark_would_read_in_part_or_garble_fails_with_a_sentence",
        "a new field": "load_json:new_fields_also_within_others_are_added_and_their_version_names_the_files "
        "load_json:a_column_in_one_file_of_sixty_is_not_lost",
        "no value in a field": "required:a_file_with_a_record_that_lacks_a_value_fails_alone",
        "a field that is only null": "load_json:a_column_takes_the_type_of_its_first_value",
        "a field that differs": "load_json:a_field_twice_fails_its_file_also_where_it_is_new_or_makes_the_table "
        "load_json:what_spark_would_read_in_part_or_garble_fails_with_a_sentence",
        "a field twice within": "load_json:a_field_twice_is_noticed_where_only_spark_reads_and_kept_within_a_value_"
        "that_is_kept_as_text",
        "integers beyond 64 bits": "load_json:no_digit_is_lost_beyond_64_bits",
        "more digits after the point": "load_json:a_given_schema_is_kept_to",
        "integers and fractions": "load_json:integers_and_fractions_in_different_files_make_a_double",
        "fields called": "load_json:fields_may_be_called_like_what_spark_hides",
    },
    "Single bad records": {
        "CSV: a value of another type": "bad_records:csv_records_are_set_aside bad_records:csv_records_are_rescued",
        "a value lacks": "required:such_records_are_set_aside required:of_csv_too "
        "required:what_may_not_be_null_cannot_be_rescued",
        "CSV: too few": "bad_records:csv_records_are_set_aside bad_records:csv_records_are_rescued",
        "CSV: a record over": "bad_records:records_over_several_lines_are_set_aside",
        "JSON: a value of another type": "bad_records:each_kind_of_bad_line_is_set_aside "
        "bad_records:each_kind_of_bad_line_is_rescued nested_values:the_record_is_set_aside_and_the_others_are_loaded",
        "JSON: a line that is cut off": "bad_records:each_kind_of_bad_line_is_set_aside "
        "bad_records:each_kind_of_bad_line_is_rescued",
        "JSON: bytes": "bad_records:each_kind_of_bad_line_is_set_aside bad_records:each_kind_of_bad_line_is_rescued",
        "JSON: a number that would": "bad_records:each_kind_of_bad_line_is_set_aside "
        "bad_records:each_kind_of_bad_line_is_rescued",
        "a new field or column": "bad_records:new_columns_of_a_file_with_bad_lines_are_added",
        "JSON: single quotes": "bad_records:lines_that_are_not_quite_strict_keep_their_fields_or_are_set_aside",
        "CSV: a number that is too wide": "bad_records:a_number_too_wide_widens_its_column_also_beside_bad_records",
        "more bad records": "bad_records:past_the_limit_the_file_fails_after_all "
        "bad_records:more_bad_records_than_fit_come_in_several_batches",
        "JSON cut off": "bad_records:what_begins_a_value_over_several_lines_is_no_file_of_lines",
        "a quote never closed": "bad_records:what_has_no_records_to_tell_apart_fails_as_a_whole "
        "bad_records:what_stands_in_a_comment_is_no_quote",
        "a table `<table>__quarantine`": "bad_records:a_table_of_somebody_else_is_not_written_to "
        "bad_records:a_table_of_somebody_else_is_not_dropped",
        "a column that somebody added": "bad_records:a_column_that_somebody_adds_to_the_quarantine_stays_empty",
        "the destination of one": "ingestions:a_table_is_not_loaded_into_and_another_ones_quarantine",
    },
    "Parquet, ORC, Avro": {
        "another order": "load_parquet:columns_land_under_their_names_and_narrower_numbers_are_widened "
        "load_avro_orc:avro_columns_land_under_their_names_and_new_ones_are_added "
        "load_avro_orc:orc_columns_land_under_their_names_and_new_ones_are_added",
        "a new column": "load_parquet:new_fields_within_others_are_added "
        "load_avro_orc:avro_columns_land_under_their_names_and_new_ones_are_added",
        "a wider type": "evolution:parquet_columns_are_widened_where_iceberg_can",
        "another type": "load_parquet:another_type_fails_the_file_with_the_column_and_both_types "
        "load_avro_orc:orc_that_is_not_whole_fails_alone",
        "no value in a column": "required:a_parquet_file_without_the_column_fails_alone_and_is_replaced",
        "cut short": "load_parquet:files_that_are_not_whole_fail_alone load_avro_orc:orc_that_is_not_whole_fails_alone "
        "load_avro_orc:avro_that_is_not_whole_fails_alone",
        "Avro that ends": "load_avro_orc:avro_that_is_not_whole_fails_alone "
        "avro_blocks:a_file_that_ends_anywhere_but_between_two_blocks_is_not_whole",
        "Avro whose schema": "load_avro_orc:avro_that_is_not_whole_fails_alone",
        "a Spark server without the jar": "clusters:a_run_of_avro_on_a_server_without_its_jar_says_which",
        "names that differ only in case": "load_parquet:files_that_are_not_whole_fail_alone "
        "load_avro_orc:orc_that_is_not_whole_fails_alone",
        "timestamps before 1900": "load_parquet:instants_are_the_same_however_they_are_written "
        "load_avro_orc:instants_of_orc_before_1900_are_kept_or_their_file_fails_alone",
        "ORC with a timestamp": "load_avro_orc:instants_of_orc_before_1900_are_kept_or_their_file_fails_alone",
        "nested deeper": "load_parquet:values_thirty_deep load_json:values_thirty_deep_and_a_new_field_at_their_end",
        "dates before 1582-10-15": "load_parquet:dates_before_1900_and_columns_called_like_what_spark_hides_are_kept "
        "load_avro_orc:avro_columns_land_under_their_names_and_new_ones_are_added",
    },
    "Spark": {
        "a wrong host or port": "spark_hello:a_host_that_is_not_known_is_named "
        "spark_hello:a_port_on_which_nothing_listens_is_named spark_hello:something_that_never_answers_is_given_up "
        "spark_hello:a_web_server_is_no_spark spark_hello:a_server_with_tls_is_told_of_where_none_was_asked_for "
        "local_spark:without_the_token_nobody_gets_in",
        "Spark 2, 3.4, 5": "spark_hello:a_version_that_we_cannot_speak_to_is_named",
        "the session is dropped": "clusters:a_session_that_is_ended_in_the_middle_fails_the_run_and_the_next_one_has_"
        "another clusters:a_server_that_makes_another_session_without_a_word_is_seen_through",
        "no catalog of that name": "clusters:a_catalog_that_is_not_there_is_named",
        "Iceberg's jar": "clusters:a_run_on_a_server_without_icebergs_extensions_says_so "
        "clusters:a_run_on_a_server_without_icebergs_jar_or_the_s3_connector_says_which",
    },
    "The table and the machine": {
        "table dropped": "table_behind_our_back:a_dropped_table_fails_the_run_and_clearing_loads_everything_again "
        "table_behind_our_back:a_replaced_table_is_noticed "
        "table_behind_our_back:a_table_rolled_back_is_noticed_and_rolled_forward_again_goes_on",
        "rows or columns": "table_behind_our_back:rows_and_columns_of_somebody_else_stay",
        "table that was there before": "table_behind_our_back:a_table_that_was_there_before_keeps_its_columns_"
        "types_and_"
        "rows",
        "table of another ledger": "table_behind_our_back:a_table_of_another_ledger_is_refused",
        "any table or column name": "load_names:a_table_and_its_database_may_have_any_name "
        "load_names:whatever_is_done_to_a_table_takes_its_name load_names:columns_may_have_any_name",
        "several runs": "table_behind_our_back:two_runs_asked_for_at_once_load_each_file_once "
        "end_to_end:two_runs_asked_for_at_once_load_each_file_once",
        "Ctrl-C": "bad_moments:ctrl_c_in_the_middle_of_a_run_leaves_the_work_to_the_next_one "
        "bad_moments:a_service_that_is_stopped_in_the_middle_of_a_run_leaves_the_work_to_the_next_start",
        "PostgreSQL away": "database_away:a_run_waits_while_the_database_is_away_and_then_goes_on "
        "database_away:a_run_that_waited_for_as_long_as_its_lease_ends_and_the_next_one_finishes",
        "no driver for PostgreSQL": "db_postgres:without_the_driver_it_is_said_what_to_install "
        "db_postgres:another_database_or_driver_is_refused "
        "db_postgres:a_database_in_which_not_every_path_can_be_written_is_refused",
        "full disk": "bad_moments:a_full_disk_under_the_table_is_told_and_the_next_run_finishes "
        "bad_moments:a_full_disk_under_everything_is_told_and_the_next_run_finishes "
        "bad_moments:a_full_disk_under_the_ledger_is_told_and_the_next_run_finishes",
    },
}
# Rows that say what is not done about something: there is nothing to hold.
NOTHING_TO_HOLD = {("JSON", "a field twice beside a value nested almost a thousand deep")}


def rows() -> list[tuple[str, str]]:
    """Each row of the page: the heading that it is under, and its text without the first bar."""
    found: list[tuple[str, str]] = []
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| ") and not line.startswith(("| --- ", "| what ")):
            found.append((heading, line[2:]))
    return found


def known() -> set[str]:
    """The tests that are there, as they are written above."""
    return {
        f"{file.stem.removeprefix('test_')}:{node.name.removeprefix('test_')}"
        for file in (ROOT / "tests").glob("*/test_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize(("heading", "row"), rows(), ids=lambda text: text.partition(" | ")[0][:60])
def test_each_row_has_its_tests(heading: str, row: str) -> None:
    mine = [name for name in HELD.get(heading, {}) if row.startswith(name)]
    if (heading, row.partition(" | ")[0]) in NOTHING_TO_HOLD:
        assert not mine
    else:
        assert len(mine) == 1, f"say in HELD which tests hold it, once: {row[:80]}"


def test_the_tests_that_are_named_are_there_and_no_row_is_named_that_is_not() -> None:
    named = {test for held in HELD.values() for tests in held.values() for test in tests.split()}
    assert not named - known()
    page = rows()
    assert not [
        (heading, name)
        for heading, held in HELD.items()
        for name in held
        if not any(heading == there and row.startswith(name) for there, row in page)
    ]
