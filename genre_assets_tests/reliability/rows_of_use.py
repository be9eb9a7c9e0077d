"""What comes in, models that drift, and commands."""

from genre_assets_tests.reliability.row import Row

INPUT = (
    Row(
        "A file cannot be used (unreadable, truncated, silent, too short, NaN, duplicate, in two genres, in no genre)",
        "It is quarantined with a reason code; everything else goes on",
        "Look at `raw_audio`'s metadata; replace or delete the object, the sensor notices",
        (
            "audio/test_assets.py::test_good_files_get_features_and_bad_ones_stop_nothing",
            "audio/test_assets.py::test_the_same_recording_in_two_genres_is_used_in_neither_whichever_ran_last",
        ),
    ),
    Row(
        "A file is overwritten or deleted while a run reads the bucket",
        "It is left out and named in the check `features_match_the_inventory`, which passes; the sensor asks for its genre again",
        "Nothing",
        (
            "audio/arrivals/test_materialisations.py::test_a_file_that_changes_while_a_run_goes_on_fails_nothing_and_is_due",
            "audio/tables/test_ingest_runs.py::test_what_comes_during_a_build_waits_for_its_end",
        ),
    ),
    Row(
        "A client sends a bad item",
        "It is answered with `ERROR`, the other items of the request as ever",
        "Nothing; the check `data_quality` warns if many do",
        (
            "serving/rollout/test_live.py::test_bad_items_have_their_own_errors_and_the_rest_their_answers",
            "audio/decoding/test_sandbox.py::test_a_decoder_killed_over_a_file_costs_nothing",
            "audio/decoding/test_sandbox.py::test_a_file_that_stalls_its_decoder_is_refused_and_the_next_is_not",
        ),
    ),
    Row(
        "A decoder is stopped while it waits for a file",
        "It is ended within seconds, before a file is given to it; the next file gets a new one",
        "Nothing",
        ("faults/test_stopped_services.py::test_an_idle_decoder_that_was_stopped_is_ended_before_anybody_needs_it",),
    ),
    Row(
        "A client sends a request that would end Triton, or a body above `GENRE_DOOR_MAX_MB`",
        "The door refuses it, saying why (400, 413, INVALID_ARGUMENT, RESOURCE_EXHAUSTED)",
        "Nothing",
        (
            "triton/test_door_live.py::test_what_ended_triton_once_is_refused_and_triton_serves_on",
            "triton/test_door.py::test_bodies_above_the_limit_are_refused_however_they_come",
            "faults/test_hostile.py::test_no_hostile_item_or_request_ends_the_server_or_harms_another",
        ),
    ),
    Row(
        "More clients, or more bytes of theirs, than the door may hold (`GENRE_DOOR_CONNECTIONS`, `GENRE_DOOR_MEMORY_MB`)",
        "One more is told to try again (503 with `Retry-After`, RESOURCE_EXHAUSTED), and counted; the others are served on",
        "Find out who asks so much, or raise the bound: `genre_door_refused_total` at `/metrics` of the door",
        (
            "triton/test_door_room.py::test_bodies_beyond_the_memory_are_told_to_try_again_and_others_pass",
            "triton/test_door_room.py::test_a_connection_too_many_is_told_so_and_one_is_free_when_another_ends",
            "triton/test_door_room.py::test_a_grpc_call_too_many_is_told_so_and_http_goes_on",
        ),
    ),
    Row(
        "A client sends a very large request",
        "It is refused above `GENRE_SERVING_MAX_REQUEST_MB`, and the memory comes back within a minute: a model whose processes keep more than 32 MB of shared memory each gets new ones while the old finish",
        "Nothing",
        ("serving/test_memory.py::test_memory_comes_back_within_a_minute_of_a_large_item_while_clients_ask",),
    ),
    Row(
        "A row of the request log cannot be stored",
        "It is set aside alone (`$GENRE_HOME/triton/spool_set_aside`, bounded), counted, and opens the alert `log:set_aside`; the rest lands",
        "Look into the folder: each line says why",
        (
            "inference/test_hostile_log.py::test_items_and_ids_that_no_table_can_hold_cost_no_other_row",
            "inference/test_spool.py::test_a_row_that_the_database_refuses_for_a_reason_of_its_own_costs_only_itself",
            "inference/test_spool.py::test_nothing_that_is_raised_ends_the_thread",
        ),
    ),
    Row(
        "A client asks the inner models, with facts of its own",
        "It is refused and counted: what the steps tell each other is signed with a secret of the server, bound to the request and its time",
        "Nothing",
        ("inference/test_hostile_log.py::test_what_a_client_invents_for_the_inner_models_is_refused_and_in_no_row",),
    ),
    Row(
        "A file of labels, groups or tables is malformed",
        "It is named with its line, and stops nothing that can go on",
        "Mend the line, and give the file again",
        (
            "serving/feedback/test_feedback.py::test_a_label_file_that_cannot_be_read_is_told_and_stops_nothing",
            "serving/test_drift_assets.py::test_label_files_that_cannot_be_read_are_named_and_stop_no_drift_run",
            "cli/test_messages.py::test_bad_input_is_one_message_in_which_foreign_markup_is_text",
        ),
    ),
    Row(
        "Two people give a clip different labels",
        "It is listed with who said what, and is in no training data and no window's accuracy; a copy that was made is removed",
        "`genre-assets review` lists it; one of the two gives the other label",
        (
            "serving/feedback/test_training_clips.py::test_what_people_disagree_on_is_listed_and_no_training_data_until_they_agree",
            "serving/feedback/test_review.py::test_what_people_disagree_on_is_listed_first_and_counts_in_no_window",
        ),
    ),
    Row(
        "A labelled clip cannot be copied (gone, another file now, never kept), or the run that copies is killed, or S3 is away",
        "It is told with its reason, and tried again; each clip is copied once",
        "Nothing, or put the object back",
        (
            "serving/feedback/test_training_clips.py::test_what_cannot_be_copied_is_told_with_its_reason_and_tried_again",
            "serving/feedback/test_training_clips.py::test_without_s3_nothing_is_lost_and_the_run_says_so",
            "faults/test_crashes.py::test_labels",
        ),
    ),
    Row(
        "Another web page, or another user of the machine, tries the stack",
        "Dagster answers only to its own names and origins and changes nothing by GET; nobody else reads the state folder; PostgreSQL has not one capability",
        "Nothing",
        (
            "stack/test_webserver.py::test_a_mutation_by_get_changes_nothing",
            "stack/test_webserver.py::test_a_name_that_is_not_its_own_is_not_answered",
            "faults/test_second_stack.py::test_no_other_user_can_read_what_the_stack_keeps",
            "stack/test_closed_folders.py::test_as_root_in_a_closed_folder_of_root",
        ),
    ),
)

MODELS = (
    Row(
        "Input drifts",
        "After k of m bad windows the fallback serves, you are notified; after j clean ones the champion returns",
        "Look at the report that the alert links to",
        (
            "integration/test_main_job.py::test_the_story_goes_to_the_fallback_and_back_says_what_it_left_out_and_ends_its_settings",
            "integration/test_alerts.py::test_the_story_opened_an_alert_and_resolved_it",
        ),
    ),
    Row(
        "The fallback drifts too",
        "It holds the route, says so, asks for retraining",
        "Label what `drift_reports` lists; retrain",
        (
            "serving/feedback/test_feedback.py::test_drift_under_the_fallback_asks_for_training_once_until_a_new_version_serves",
        ),
    ),
    Row(
        "No model may stand in for the champion (all of its family, or none better than chance on perturbed audio)",
        "There is no fallback: the check `there_is_a_fallback` fails, `genre-assets status` says so, the champion serves "
        "whatever drifts, and drift asks for retraining",
        "Label what `drift_reports` lists; retrain. The check says what each model lacks",
        (
            "models/selection/test_fallback.py::test_a_mixture_that_contains_the_champion_is_no_fallback_however_robust",
            "serving/rollout/test_no_fallback.py::test_drift_asks_for_retraining_and_moves_nothing",
            "serving/rollout/test_no_fallback.py::test_over_a_real_triton_the_champion_alone_serves_and_says_so",
        ),
    ),
    Row(
        "`GENRE_SEGMENT_SECONDS` or `GENRE_FEATURE_SET` is changed, and changed back",
        "A champion that stays is compared and served on the cuts that it was trained on; one of another feature set is "
        "replaced, and the audit table says why",
        "Run the job build: features are made anew",
        (
            "models/selection/test_cuts.py::test_the_gate_the_fallback_and_the_release_follow_the_cut_of_a_champion_that_stays",
            "models/selection/test_cuts.py::test_going_back_and_forth_between_feature_sets_ends_on_a_model_of_the_set_in_force",
            "packaging/test_assets.py::test_a_champion_is_served_on_the_cuts_that_it_was_trained_on_whatever_the_settings_say",
        ),
    ),
)

COMMANDS = (
    Row(
        "A command is run where no stack runs",
        "It refuses, whoever listens on the ports",
        "`genre-assets up`, `GENRE_HOME` of the stack that you mean, or the addresses (`GENRE_DAGSTER_URL` ...) of services elsewhere",
        (
            "cli/test_own_stack.py::test_a_command_acts_on_no_stack_but_its_own",
            "cli/test_own_stack.py::test_a_port_that_a_stranger_took_from_a_service_that_is_away_is_not_this_stacks",
        ),
    ),
    Row(
        "A port is taken",
        "The start stops with the port and the setting that moves it",
        "Set it, or `GENRE_PORT_OFFSET` (a multiple of 10 up to 890; no two of them share a port), and `genre-assets up`: what is given then wins over what the folder remembers",
        (
            "faults/test_second_stack.py::test_a_taken_port_stops_the_start_with_the_setting_to_change",
            "stack/test_local_services.py::test_the_advice_that_a_taken_port_is_answered_with_helps",
        ),
    ),
    Row(
        "The folder of the project or of the state is closed to others (mode 0700, root's own home)",
        "Everything works",
        "Nothing",
        (
            "stack/test_closed_folders.py::test_as_root_in_a_closed_folder_of_root",
            "stack/test_closed_folders.py::test_as_a_plain_user_in_a_folder_of_its_own",
        ),
    ),
)
