"""Services, runs, and what they depend on."""

from genre_assets_tests.reliability.row import Row

SERVICES = (
    Row(
        "A service dies",
        "It is restarted, with growing pauses, counted and shown; down for 15 s or restarted again and again, you are notified",
        "`genre-assets status` says why; `genre-assets alerts` since when",
        (
            "stack/supervision/test_keeper.py::test_a_killed_service_is_restarted",
            "faults/test_killed_services.py::test_the_object_store_and_the_daemon_come_back_too",
            "stack/supervision/test_notifier.py::test_people_are_notified_without_any_other_service",
            "stack/supervision/test_notifier.py::test_a_service_that_is_restarted_again_and_again_is_told",
        ),
    ),
    Row(
        "A service is stopped or hangs",
        "It is restarted whole",
        "Nothing",
        (
            "faults/test_stopped_services.py::test_a_service_that_hangs_is_restarted",
            "stack/supervision/test_lights.py::test_a_stopped_service_is_restarted",
        ),
    ),
    Row(
        "Triton dies",
        "It is restarted with the route it had",
        "Nothing",
        (
            "faults/test_killed_services.py::test_a_killed_triton_comes_back_with_the_same_route",
            "serving/rollout/test_live.py::test_after_a_restart_the_released_ensemble_and_its_route_serve_again",
        ),
    ),
    Row(
        "The door before Triton dies or is stopped",
        "It is restarted in seconds; Triton does not notice; what was on its way is the clients' to send again",
        "Nothing",
        (
            "faults/test_killed_services.py::test_a_killed_door_is_back_in_seconds_and_triton_did_not_notice",
            "faults/test_stopped_services.py::test_a_service_that_hangs_is_restarted",
        ),
    ),
    Row(
        "The gateway dies or is stopped, or its database is away",
        "It is restarted in seconds, and holds nothing that could be lost; clients of Triton notice nothing. While the database is away it "
        "answers predictions where no key is needed, lets nobody in by a key that it cannot look up, and says so (503)",
        "Nothing",
        (
            "faults/test_stopped_services.py::test_a_service_that_hangs_is_restarted",
            "gateway/test_keys.py::test_while_the_database_is_away_nobody_is_let_in_by_a_key_that_nobody_knows",
        ),
    ),
    Row(
        "Triton is away",
        "The door says so at once (503, UNAVAILABLE) and passes on again when it is back; nobody's deadline is waited out; one alert "
        "names Triton, and none the door",
        "Nothing",
        (
            "stack/supervision/test_notifier.py::test_one_alert_names_the_cause_and_what_is_away_for_it_has_none_of_its_own",
            "triton/test_door_away.py::test_while_the_server_is_away_the_door_says_so_at_once_and_it_passes_again_when_it_is_back",
        ),
    ),
    Row(
        "A Python process of Triton dies or is stopped, also after a restart of Triton",
        "Its model is loaded again and must answer; else the server is restarted",
        "Nothing",
        (
            "faults/test_stopped_services.py::test_tritons_python_processes_are_revived_after_a_restart_of_triton",
            "stack/services/test_triton_watchdog.py::test_loads_that_go_on_failing_call_for_a_restart_of_the_server",
        ),
    ),
    Row(
        "Automation stands still (daemon, code server or its child, a sensor)",
        "The light of `dagster-daemon` or `dagster-code` says so; the service is restarted",
        "Nothing, unless it comes again",
        (
            "faults/test_stopped_services.py::test_the_code_servers_child_comes_back",
            "faults/test_stopped_services.py::test_a_service_that_hangs_is_restarted",
        ),
    ),
    Row(
        "The supervisor is killed",
        "The kernel ends its services; `up` believes no old state, starts clean and ends orphan processes",
        "`genre-assets up`; it changes nothing on a stack that is well, so that cron can call it every minute",
        (
            "faults/test_second_stack.py::test_a_killed_supervisor_leaves_a_stack_that_comes_up_again",
            "stack/supervision/test_lights.py::test_up_believes_no_state_of_a_supervisor_that_is_gone",
            "stack/supervision/test_keeper.py::test_orphan_processes_of_a_killed_supervisor_are_found_and_ended",
        ),
    ),
    Row(
        "The supervisor is stopped or hangs",
        "`status` says since when it has looked at nothing; the services go on, but nothing is restarted",
        "`genre-assets up`: a stopped one goes on, one that hangs is replaced, with its services",
        (
            "faults/test_second_stack.py::test_a_stopped_supervisor_is_shown_and_goes_on_with_up",
            "stack/supervision/test_lights.py::test_a_supervisor_that_hangs_is_unknown_in_status_and_replaced_by_up",
        ),
    ),
    Row(
        "The whole machine is suspended",
        "Nothing is restarted for having been silent meanwhile",
        "Nothing",
        (
            "stack/supervision/test_keeper_blame.py::test_a_suspend_of_everything_restarts_nothing",
            "stack/supervision/test_lights.py::test_a_pause_of_the_whole_machine_restarts_nothing",
        ),
    ),
    Row(
        "Everything hangs at once",
        "`status` answers within two seconds and shows what it cannot know as unknown",
        "Look at the machine: memory, disk",
        ("stack/supervision/test_lights.py::test_status_answers_in_time_though_everything_hangs",),
    ),
)

RUNS = (
    Row(
        "The process of a run is killed, alone or with its code server",
        "The run is ended as failed, its work is asked for again; runs that wait in the queue go on; a stopped process goes on",
        "`genre-assets run`, or wait for the sensor",
        (
            "faults/test_runs.py::test_a_run_whose_process_is_gone_ends_and_the_next_one_gets_its_place",
            "runs/test_run_processes.py::test_a_stopped_process_goes_on",
        ),
    ),
    Row(
        "A run is killed between any two steps",
        "The next run goes on: features by content, studies in the database, releases whole or not at all",
        "Nothing",
        (
            "faults/test_crashes.py::test_features",
            "faults/test_crashes.py::test_register",
            "faults/test_crashes.py::test_publish",
            "models/tuning/test_tune.py::test_an_interrupted_study_loses_no_trial_and_ends_as_if_nothing_had_happened",
        ),
    ),
    Row(
        "A promotion is killed before or after Triton has switched",
        "It is asked for again, and booked once",
        "Nothing",
        (
            "faults/test_killed_promotions.py::test_a_killed_promotion_is_made_in_the_end",
            "faults/test_crashes.py::test_promote",
            "faults/test_crashes.py::test_promote_in_a_tick",
        ),
    ),
    Row(
        "Files or Triton differ from the books",
        "They are made equal to the books within a minute",
        "Nothing",
        (
            "faults/test_killed_promotions.py::test_a_server_on_another_route_than_the_books_is_brought_back",
            "serving/rollout/test_reconciliation.py::test_each_step_of_a_switch_that_is_left_half_done_is_noticed_and_mended",
        ),
    ),
    Row(
        "A build is killed in its gate",
        "Its scratch Triton ends with it; what it left is removed at the next start",
        "Nothing",
        ("triton/test_scratch.py::test_a_killed_build_leaves_no_server_and_no_file",),
    ),
    Row(
        "Two builds at once",
        "One at a time: the second waits in the queue; a study has one searcher",
        "Nothing",
        (
            "test_definitions.py::test_only_one_build_at_a_time_and_a_promotion_waits_for_none",
            "models/tuning/test_tune.py::test_two_builds_at_once_search_one_study_without_harm",
        ),
    ),
    Row(
        "Two runs that write the audio tables at once (`ingest` and `run` at once, twice the same, one by hand)",
        "One at a time: the second waits in the queue and computes nothing that the first did; the sensor asks for nothing meanwhile",
        "Nothing",
        (
            "audio/tables/test_ingest_runs.py::test_runs_of_one_bucket_that_are_launched_at_once_take_turns",
            "audio/tables/test_ingest_runs.py::test_ingest_and_then_run_as_the_readme_has_it",
            "audio/arrivals/test_sensor.py::test_it_waits_for_a_run_of_the_tables_whatever_its_job_and_for_no_other",
        ),
    ),
    Row(
        "A run of the audio stage is killed between its tables and what it says of them",
        "The next run completes the tables, computes only what is missing, and shows their counts on every genre's page",
        "Nothing",
        (
            "audio/tables/test_ingest_runs.py::test_a_run_that_is_killed_lets_the_next_one_do_its_work",
            "audio/arrivals/test_materialisations.py::test_what_a_killed_run_wrote_and_did_not_say_is_said_by_the_next_one",
        ),
    ),
    Row(
        "A release answers otherwise than offline, does not load, or is damaged",
        "Nothing changes; the check says why",
        "Read the check of `triton_repo` or `live_ensemble`",
        (
            "packaging/test_assets.py::test_a_model_that_answers_otherwise_in_triton_never_goes_live",
            "serving/rollout/test_live.py::test_a_release_that_answers_otherwise_than_offline_leaves_the_one_before_serving",
            "serving/rollout/test_live.py::test_a_release_that_does_not_load_leaves_the_one_before_serving",
            "serving/rollout/test_live.py::test_a_damaged_release_is_not_taken",
        ),
    ),
)

DEPENDENCIES = (
    Row(
        "The code is newer than the tables in PostgreSQL, or older",
        "Whoever asks first brings the tables up, with their data, whole or not at all; Triton's log keeps its rows until then; older code goes on beside newer tables",
        "Nothing; `genre-assets migrate` chooses when",
        (
            "migrations/test_migrations.py::test_an_installation_of_the_first_version_is_brought_up_with_its_data",
            "migrations/test_migrations.py::test_processes_that_come_at_once_bring_it_up_once",
            "migrations/test_migrations.py::test_what_cannot_be_brought_up_is_left_as_it_was",
            "migrations/test_migrations.py::test_a_process_without_alembic_says_who_must_bring_the_tables_up_and_waits",
            "migrations/test_migrations.py::test_code_of_yesterday_goes_on_beside_tables_of_tomorrow",
        ),
    ),
    Row(
        "PostgreSQL is away, slow, cuts, hangs or has no connection left",
        "Triton answers on; rows wait in the spool on disk and are logged once each; commands say so; it is restarted, and you are notified without it",
        "Nothing, unless it stays away: `genre-assets status`",
        (
            "faults/test_serving_dependencies.py::test_a_database_that_fails_in_every_way_costs_no_answer_and_no_row_and_doubles_none",
            "faults/test_killed_services.py::test_a_dead_database_costs_neither_an_answer_nor_a_row",
            "faults/test_platform_dependencies.py::test_a_command_whose_database_is_away_says_so",
            "faults/test_platform_dependencies.py::test_a_command_that_gets_no_connection_says_so",
        ),
    ),
    Row(
        "S3 refuses, hangs, answers 503, cuts bodies, is slow, or its keys are wrong",
        "Of a request only the items that name keys fail, in seconds; commands and steps say so and complete when repeated; the bucket's sensor skips (a failed listing is never an empty bucket) and an alert opens",
        "If the keys are wrong: set them",
        (
            "faults/test_serving_dependencies.py::test_a_store_that_fails_costs_only_the_items_that_name_its_keys",
            "faults/test_object_store_faults.py::test_an_upload_that_fails_says_so_and_the_same_command_completes_it",
            "faults/test_object_store_faults.py::test_a_slow_store_is_waited_for",
            "faults/test_object_store_faults.py::test_features_that_cannot_be_read_or_written_fail_their_step_and_the_next_run_completes",
            "audio/arrivals/test_sensor.py::test_a_failed_listing_is_a_skip_that_keeps_the_cursor",
            "serving/test_alert_sensors.py::test_wrong_keys_and_a_silent_s3_open_an_alert_that_resolves",
        ),
    ),
    Row(
        "The webhook is away, answers 503 or hangs",
        "The alert waits, is counted, and arrives once; other channels get theirs",
        "Nothing; `genre-assets alerts` shows what was delivered",
        (
            "faults/test_platform_dependencies.py::test_an_alert_waits_for_its_webhook_and_arrives_once",
            "faults/test_platform_dependencies.py::test_a_delivery_whose_database_goes_away_loses_no_message",
            "serving/alerts/test_alerts.py::test_one_dead_channel_does_not_hold_up_another",
        ),
    ),
    Row(
        "The disk is full: raw bucket, releases, or the spool of the request log",
        "A message; the old release serves on; answers go on and rows that cannot be kept are counted; the same command completes once there is room",
        "Make room",
        (
            "faults/test_platform_dependencies.py::test_a_full_raw_bucket_stops_the_upload_with_its_reason_and_the_same_command_completes_it",
            "faults/test_serving_dependencies.py::test_a_full_disk_under_the_releases_leaves_the_one_before_serving",
            "inference/test_spool.py::test_half_a_line_on_a_full_disk_is_taken_back_and_counted",
            "inference/test_spool.py::test_a_full_spool_drops_the_oldest_and_counts_them",
        ),
    ),
)
