"""The Candid interface of the management canister, as far as it is offered here (interface specification, "ic.did")."""

from appliance.crypto import CandidInterface

DID = """
type visibility = variant { controllers; public; allowed_viewers : vec principal };
type environment_variable = record { name : text; value : text };
type canister_settings = record {
  controllers : opt vec principal;
  compute_allocation : opt nat;
  memory_allocation : opt nat;
  freezing_threshold : opt nat;
  reserved_cycles_limit : opt nat;
  minimum_incoming_canister_call_cycles : opt nat;
  log_visibility : opt visibility;
  log_memory_limit : opt nat;
  snapshot_visibility : opt visibility;
  status_visibility : opt visibility;
  wasm_memory_limit : opt nat;
  wasm_memory_threshold : opt nat;
  environment_variables : opt vec environment_variable;
};
type definite_canister_settings = record {
  controllers : vec principal;
  compute_allocation : nat;
  memory_allocation : nat;
  freezing_threshold : nat;
  reserved_cycles_limit : nat;
  minimum_incoming_canister_call_cycles : nat;
  log_visibility : visibility;
  log_memory_limit : nat;
  snapshot_visibility : visibility;
  status_visibility : visibility;
  wasm_memory_limit : nat;
  wasm_memory_threshold : nat;
  environment_variables : vec environment_variable;
};
type upgrade_options = record {
  skip_pre_upgrade : opt bool;
  wasm_memory_persistence : opt variant { keep; replace };
};
type install_mode = variant { install; reinstall; upgrade : opt upgrade_options };
type deployed_mode = variant { install; reinstall; upgrade };
type chunk_hash = record { hash : blob };
type subject = record { canister_id : principal };
type created = record { canister_id : principal };
type change = record {
  timestamp_nanos : nat64;
  canister_version : nat64;
  origin : variant {
    from_user : record { user_id : principal };
    from_canister : record { canister_id : principal; canister_version : opt nat64 };
  };
  details : opt variant {
    creation : record { controllers : vec principal; environment_variables_hash : opt blob };
    code_uninstall;
    code_deployment : record { mode : deployed_mode; module_hash : blob };
    load_snapshot : record {
      from_canister_id : opt principal;
      snapshot_id : blob;
      canister_version : nat64;
      taken_at_timestamp : nat64;
      source : snapshot_source;
    };
    controllers_change : record { controllers : vec principal };
  };
};
type snapshot_source = variant { taken_from_canister : reserved; metadata_upload : reserved };
type snapshot = record { id : blob; taken_at_timestamp : nat64; total_size : nat64 };
type snapshot_subject = record { canister_id : principal; snapshot_id : blob };
type range = record { start : nat64; end : nat64 };
type changes = vec change;
type status = record {
  status : variant { running; stopping; stopped };
  ready_for_migration : bool;
  version : nat64;
  settings : definite_canister_settings;
  module_hash : opt blob;
  memory_size : nat;
  memory_metrics : record {
    wasm_memory_size : nat;
    stable_memory_size : nat;
    global_memory_size : nat;
    wasm_binary_size : nat;
    custom_sections_size : nat;
    canister_history_size : nat;
    wasm_chunk_store_size : nat;
    snapshots_size : nat;
    log_memory_store_size : nat;
  };
  cycles : nat;
  reserved_cycles : nat;
  idle_cycles_burned_per_day : nat;
  query_stats : record {
    num_calls_total : nat;
    num_instructions_total : nat;
    request_payload_bytes_total : nat;
    response_payload_bytes_total : nat;
  };
};
service : {
  create_canister : (record { settings : opt canister_settings }) -> (created);
  provisional_create_canister_with_cycles : (record {
    amount : opt nat;
    settings : opt canister_settings;
    specified_id : opt principal;
  }) -> (created);
  provisional_top_up_canister : (record { canister_id : principal; amount : nat }) -> ();
  update_settings : (record { canister_id : principal; settings : canister_settings }) -> ();
  install_code : (record {
    mode : install_mode;
    canister_id : principal;
    wasm_module : blob;
    arg : blob;
  }) -> ();
  install_chunked_code : (record {
    mode : install_mode;
    target_canister : principal;
    store_canister : opt principal;
    chunk_hashes_list : vec chunk_hash;
    wasm_module_hash : blob;
    arg : blob;
  }) -> ();
  upload_chunk : (record { canister_id : principal; chunk : blob }) -> (chunk_hash);
  stored_chunks : (subject) -> (vec chunk_hash);
  clear_chunk_store : (subject) -> ();
  uninstall_code : (subject) -> ();
  start_canister : (subject) -> ();
  stop_canister : (subject) -> ();
  delete_canister : (subject) -> ();
  deposit_cycles : (subject) -> ();
  raw_rand : () -> (blob);
  canister_status : (subject) -> (status) query;
  canister_info : (record { canister_id : principal; num_requested_changes : opt nat64 }) -> (record {
    total_num_changes : nat64;
    recent_changes : changes;
    module_hash : opt blob;
    controllers : vec principal;
  });
  canister_metadata : (record { canister_id : principal; name : text }) -> (record { value : blob }) query;
  canister_metrics : (subject) -> (record {
    cycles_consumed : record {
      memory : nat;
      compute_allocation : nat;
      ingress_induction : nat;
      instructions : nat;
      request_and_response_transmission : nat;
      uninstall : nat;
      canister_creation : nat;
      http_outcalls : nat;
      burned_cycles : nat;
    };
  }) query;
  list_canisters : () -> (record { canisters : vec record { start : principal; end : principal } }) query;
  take_canister_snapshot : (record {
    canister_id : principal;
    replace_snapshot : opt blob;
    uninstall_code : opt bool;
  }) -> (snapshot);
  load_canister_snapshot : (snapshot_subject) -> ();
  list_canister_snapshots : (subject) -> (vec snapshot);
  delete_canister_snapshot : (snapshot_subject) -> ();
  fetch_canister_logs : (record {
    canister_id : principal;
    filter : opt variant { by_idx : range; by_timestamp_nanos : range };
  }) -> (record {
    canister_log_records : vec record { idx : nat64; timestamp_nanos : nat64; content : blob };
  }) query;
}
"""

_INTERFACE = CandidInterface(DID)

METHODS = _INTERFACE.methods
SETTINGS = _INTERFACE.type("definite_canister_settings")
SAVED_SETTINGS = _INTERFACE.type("canister_settings")
"""Decodes what ``SETTINGS`` encoded, by an earlier version with fewer settings, too: all fields are optional."""
CHANGES = _INTERFACE.type("changes")

NOT_OFFERED = frozenset(
    {
        *("http_request", "flexible_http_request", "node_metrics_history", "subnet_info", "subnet_metrics"),
        *("ecdsa_public_key", "sign_with_ecdsa", "schnorr_public_key", "sign_with_schnorr"),
        *("vetkd_public_key", "vetkd_derive_key"),
        *("read_canister_snapshot_metadata", "read_canister_snapshot_data"),
        *("upload_canister_snapshot_metadata", "upload_canister_snapshot_data"),
        *("bitcoin_get_balance", "bitcoin_get_utxos", "bitcoin_send_transaction"),
        *("bitcoin_get_current_fee_percentiles", "bitcoin_get_block_headers"),
    }
)
"""Methods that the IC's management canister has and this one has not."""
