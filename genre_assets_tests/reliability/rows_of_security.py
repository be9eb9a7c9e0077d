"""Who could do what to an installation, what stops him, and the tests that show it: the table of docs/security.md."""

from dataclasses import dataclass

FILE, CLIENT, OBJECT = "A hostile file", "A hostile client", "Who may write a bucket"
PROCESS, CONTAINER, PAGE, SUPPLY = "A neighbour process", "A neighbour container", "A page of another site", "A package"


@dataclass(frozen=True)
class Attack:
    """One row. `tests` are paths below the tests' folder, each `file::function`."""

    who: str
    tries: str
    stopped_by: str
    tests: tuple[str, ...]


ATTACKS = (
    Attack(
        FILE,
        "Takes over its decoder",
        "Compressed audio is decoded in a process that has no secret, no network, no files and no children; the process that extracts "
        "has loaded no decoder",
        (
            "audio/decoding/test_sandbox.py::test_a_protected_process_can_do_nothing_but_compute",
            "audio/decoding/test_sandbox.py::test_a_decoder_holds_no_secret_and_has_its_limits",
            "audio/decoding/test_sandbox.py::test_the_process_that_extracts_has_loaded_no_decoder",
        ),
    ),
    Attack(
        FILE,
        "Stalls, kills or fills its decoder; unpacks to far more than it is; lies in its header",
        "The decoder is ended and replaced; only the wanted seconds are read, within bounds of memory and time; the file is refused "
        "with its reason",
        (
            "audio/decoding/test_sandbox.py::test_a_file_that_stalls_its_decoder_is_refused_and_the_next_is_not",
            "audio/decoding/test_sandbox.py::test_a_decoder_killed_over_a_file_costs_nothing",
            "audio/decoding/test_decode.py::test_a_file_above_the_limit_is_refused_unread",
            "audio/decoding/test_wav.py::test_a_lying_header_is_refused_with_its_reason",
            "faults/test_hostile.py::test_no_hostile_item_or_request_ends_the_server_or_harms_another",
        ),
    ),
    Attack(
        FILE,
        "Reaches a codec that nobody needs",
        "Only the codecs of wav, mp3, mp4, flac and ogg are asked; others are refused by name",
        ("audio/decoding/test_sandbox.py::test_other_codecs_are_refused_by_name",),
    ),
    Attack(
        FILE,
        "Carries markup or control characters in its name, its tags or its error",
        "It is text on pages, in the terminal and in the log",
        (
            "gateway/test_proxy.py::test_what_somebody_wrote_is_text_on_a_page",
            "cli/test_messages.py::test_bad_input_is_one_message_in_which_foreign_markup_is_text",
            "inference/test_hostile_log.py::test_items_and_ids_that_no_table_can_hold_cost_no_other_row",
        ),
    ),
    Attack(
        CLIENT,
        "Asks the gateway without a key, or for more than his key is for",
        "Where others reach it every page and request needs a key with a scope and limits, of which only a hash is kept; it does not "
        "start open to others, and lets nobody in whom it cannot look up",
        (
            "gateway/test_keys.py::test_without_a_key_only_life_and_health_are_told",
            "gateway/test_keys.py::test_a_key_is_for_its_scopes_until_it_is_revoked",
            "gateway/test_keys.py::test_a_key_asks_as_often_as_it_may",
            "gateway/test_keys.py::test_while_the_database_is_away_nobody_is_let_in_by_a_key_that_nobody_knows",
            "gateway/test_api.py::test_it_does_not_listen_to_strangers_without_keys_or_a_proxy",
        ),
    ),
    Attack(
        CLIENT,
        "Opens Dagster, MLflow or Grafana, which have no login of ours",
        "They are published on the loopback alone; the proxy shows them to keys that may operate, and passes no key on",
        (
            "gateway/test_proxy.py::test_a_stranger_sees_nothing_of_what_is_behind_and_an_operator_is_let_through",
            "gateway/test_proxy.py::test_a_websocket_is_opened_for_a_key_alone",
            "gateway/test_proxy.py::test_what_is_asked_inside_is_not_told_outside_and_plain_http_leads_to_https",
            "deploy/test_compose_file.py::test_only_the_proxy_may_publish_beyond_this_machine",
        ),
    ),
    Attack(
        CLIENT,
        "Loads a model of his own into Triton, or asks it past the door",
        "Administration needs a token, inference the door's key",
        (
            "triton/test_scratch.py::test_a_scratch_server_takes_orders_from_its_maker_alone",
            "triton/test_door_live.py::test_nobody_gets_an_inference_past_the_door",
        ),
    ),
    Attack(
        CLIENT,
        "Sends what ends Triton: deep JSON, classes of text, shapes without data",
        "The door refuses it, saying why",
        (
            "triton/test_door_live.py::test_what_ended_triton_once_is_refused_and_triton_serves_on",
            "triton/test_door.py::test_deep_json_is_refused_wherever_it_is_sent",
            "triton/test_door.py::test_a_shape_of_more_than_was_sent_is_refused",
        ),
    ),
    Attack(
        CLIENT,
        "Sends too much, or sends it slowly on many connections",
        "Requests, memory and connections are bounded; one more is told to try again",
        (
            "triton/test_door.py::test_bodies_above_the_limit_are_refused_however_they_come",
            "triton/test_door_room.py::test_bodies_beyond_the_memory_are_told_to_try_again_and_others_pass",
            "triton/test_door_room.py::test_a_connection_too_many_is_told_so_and_one_is_free_when_another_ends",
        ),
    ),
    Attack(
        CLIENT,
        "Has the server read files, other sites or other buckets for him",
        "Items name objects in `GENRE_SERVING_ALLOWED_BUCKETS` and nothing else; keys that a server may read as others are refused",
        (
            "inference/test_items.py::test_paths_and_other_urls_are_refused_without_being_read",
            "inference/test_items.py::test_buckets_that_are_not_allowed_are_refused_before_any_request",
            "inference/test_items.py::test_keys_that_a_server_may_read_as_other_keys_are_refused_before_any_request",
            "gateway/test_api.py::test_a_sound_is_played_from_any_place_and_from_no_other_bucket",
        ),
    ),
    Attack(
        CLIENT,
        "Writes what never was into the prediction log, and so moves the route",
        "What the steps of the ensemble tell each other is sealed; a request without the seal is in no row",
        (
            "inference/test_hostile_log.py::test_what_a_client_invents_for_the_inner_models_is_refused_and_in_no_row",
            "inference/test_seal.py::test_anything_changed_is_refused",
        ),
    ),
    Attack(
        CLIENT,
        "Teaches the next model what is wrong",
        "Clients' audio is in a bucket of its own and becomes training data by a label alone, which needs its own scope; what people "
        "disagree on becomes none",
        (
            "test_core.py::test_settings_that_contradict_each_other_are_refused",
            "serving/feedback/test_training_clips.py::test_what_people_disagree_on_is_listed_and_no_training_data_until_they_agree",
        ),
    ),
    Attack(
        OBJECT,
        "Changes a release, its configuration or its environment, or puts one of his own there",
        "Releases and environments are signed, and verified before each load; the old one goes on",
        (
            "packaging/test_signature.py::test_what_is_not_as_it_was_signed_is_refused_and_the_old_release_goes_on",
            "packaging/test_signature.py::test_a_configuration_that_was_changed_on_disk_is_not_loaded",
            "packaging/test_signature.py::test_an_environment_that_was_changed_is_not_unpacked",
            "packaging/test_signature.py::test_who_has_the_public_key_verifies_and_cannot_sign",
        ),
    ),
    Attack(
        OBJECT,
        "Leaves a pickle where a model is expected",
        "No pickle is written or loaded anywhere: models are ONNX or XGBoost's own format",
        (
            "test_house.py::test_no_pickle_is_written_or_loaded_anywhere",
            "integration/test_main_job.py::test_nothing_that_the_stack_keeps_or_serves_is_a_pickle",
        ),
    ),
    Attack(
        OBJECT,
        "Leaves broken audio, label sets or label lists",
        "Audio goes to quarantine with a reason; a list is refused with its line; the rest goes on",
        (
            "audio/test_assets.py::test_good_files_get_features_and_bad_ones_stop_nothing",
            "test_label_set.py::test_labels_yaml_that_cannot_be_read_is_refused_with_its_name",
            "serving/feedback/test_feedback.py::test_a_bad_label_list_is_refused_with_its_line",
        ),
    ),
    Attack(
        PROCESS,
        "Reads secrets of other users' processes: command lines, files, logs",
        "Secrets travel in the environment or in files that their owner alone reads; Triton, which takes its tokens as arguments alone, "
        "has them wiped out of the list of processes",
        (
            "triton/test_scratch.py::test_the_token_of_the_live_server_is_not_among_its_arguments",
            "triton/test_door_away.py::test_a_door_that_is_killed_or_stopped_opens_again_and_its_key_is_in_no_command_line",
            "stack/test_local_services.py::test_secrets_are_made_once_and_kept_private",
            "stack/test_closed_folders.py::test_up_closes_the_state_folder_of_an_earlier_version",
            "stack/supervision/test_keeper_blame.py::test_a_log_is_for_its_owner_only",
        ),
    ),
    Attack(
        PROCESS,
        "Logs in to PostgreSQL or S3 on the loopback",
        "Both ask for a secret",
        (
            "stack/test_local_services.py::test_postgres_refuses_a_wrong_password",
            "test_core.py::test_a_wrong_secret_is_refused_with_the_setting_to_check",
        ),
    ),
    Attack(
        PROCESS,
        "Takes the port of a service that is away, and is asked in its place",
        "A service does not start on a taken port; commands ask no process that is not of their own stack",
        ("cli/test_own_stack.py::test_a_port_that_a_stranger_took_from_a_service_that_is_away_is_not_this_stacks",),
    ),
    Attack(
        CONTAINER,
        "Goes on from Triton, once he has broken into it: reads or erases the log, signs releases, opens other databases",
        "Triton's role adds rows to the log and does nothing else; where agents serve, it has the public key alone; its container knows no "
        "other address",
        (
            "deploy/test_init.py::test_who_appends_to_the_prediction_log_can_do_nothing_else",
            "deploy/test_init.py::test_what_one_superuser_left_is_handed_over_to_the_owners",
            "deploy/test_chart.py::test_a_container_is_told_the_secrets_that_it_needs_and_no_other",
            "deploy/test_compose_file.py::test_a_service_is_told_the_secrets_that_it_needs_and_no_other",
        ),
    ),
    Attack(
        CONTAINER,
        "Reaches what is not meant for him, or the machine below",
        "Each database has an owner that opens no other; Grafana's role only reads, and no hash of a key; no container has capabilities, new "
        "privileges or a root file system to write to; the network of the data has no way out",
        (
            "deploy/test_init.py::test_roles_open_their_own_database_and_no_other_and_the_reader_only_reads",
            "deploy/test_compose_file.py::test_a_container_may_do_no_more_than_it_must",
            "deploy/test_compose_file.py::test_what_holds_data_cannot_be_reached_from_outside_nor_reach_out",
        ),
    ),
    Attack(
        PAGE,
        "Launches jobs or asks with the browser of somebody who is let in, by a form, a picture, a websocket, or a name that leads to "
        "127.0.0.1",
        "The gateway, Dagster and MLflow answer to their own names and pages; nothing is changed by GET; the cookie of a key is sent by no "
        "other site's page and read by no script",
        (
            "gateway/test_api.py::test_another_sites_page_may_not_ask",
            "gateway/test_proxy.py::test_who_signs_in_has_a_cookie_that_no_script_and_no_other_site_can_use",
            "stack/test_webserver.py::test_a_mutation_by_get_changes_nothing",
            "stack/test_webserver.py::test_a_form_of_another_page_changes_nothing",
            "stack/test_webserver.py::test_another_pages_websocket_is_refused",
            "stack/test_webserver.py::test_a_name_that_is_not_its_own_is_not_answered",
        ),
    ),
    Attack(
        SUPPLY,
        "Is another than the one that was tested",
        "Everything is installed by the hashes of the lock file, servers too; the workflows' actions are pinned by theirs",
        (
            "shipped/test_wheels.py::test_another_hash_is_refused_and_nothing_of_it_stays",
            "deploy/test_supply.py::test_every_action_is_pinned_by_its_hash_and_no_workflow_may_more_than_it_needs",
        ),
    ),
    Attack(
        SUPPLY,
        "Has a known hole",
        "`make sbom` lists every component; `deploy/vex.json` says of known holes whether they are reached; the workflow audits the lock",
        ("deploy/test_supply.py::test_what_the_vex_names_is_in_the_list_of_components",),
    ),
)
