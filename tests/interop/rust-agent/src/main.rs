//! Deploys and manages a canister with ic-agent and ic-utils, unmodified and with all their checks on.
//!
//! Argument: JSON {networkUrl, canisterId, subnetId, module, large}: two files with a module, of which the second is
//! installed in chunks; canisterId is any of the network. Output: one line of JSON for each step. Every answer is
//! decoded into the types of ic-utils, and a status into the newest types that the registry has, too. Ends with code 1
//! and {"step": "failed", "error": …} where a step fails.

use std::error::Error;
use std::fs;

use candid::{Decode, Encode, Nat, Principal};
use ic_agent::Agent;
use ic_agent::identity::BasicIdentity;
use ic_utils::call::{AsyncCall, SyncCall};
use ic_utils::interfaces::ManagementCanister;
use ic_utils::interfaces::management_canister::builders::CanisterInstallMode;
use ic_utils::interfaces::management_canister::{
    CanisterLogFilter, CanisterMetadataArgs, FetchCanisterLogsArgs, LogVisibility,
};
use serde_json::{Value, json};
use utils::{
    DeleteCanisterSnapshotArgs, LoadCanisterSnapshotArgs, ProvisionalTopUpCanisterArgs, TakeCanisterSnapshotArgs,
};

type Done<T = ()> = Result<T, Box<dyn Error>>;

fn say(step: &str, seen: Value) {
    println!("{}", json!({"step": step, "seen": seen}));
}

fn main() -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options: Value = serde_json::from_str(&std::env::args().nth(1).ok_or("no argument")?)?;
    let done = runtime.block_on(run(&options));
    if let Err(error) = &done {
        println!("{}", json!({"step": "failed", "error": error.to_string()}));
    }
    done
}

async fn run(options: &Value) -> Done {
    let text = |name: &str| options[name].as_str().unwrap_or_default().to_owned();
    let principal = |name: &str| Principal::from_text(text(name));
    let agent =
        Agent::builder().with_url(text("networkUrl")).with_identity(BasicIdentity::from_raw_key(&[7; 32])).build()?;
    agent.fetch_root_key().await?;
    let ic = ManagementCanister::create(&agent);
    let id = create(&agent, &ic, principal("canisterId")?).await?;
    let module = fs::read(text("module"))?;
    install(&agent, &ic, id, &module).await?;
    status(&agent, &ic, id).await?;
    settings(&agent, &ic, id).await?;
    look(&agent, &ic, id, principal("subnetId")?).await?;
    ic.install(&id, &fs::read(text("large"))?).with_mode(CanisterInstallMode::Reinstall).call_and_wait().await?;
    say("chunks", json!({"left": ic.stored_chunks(&id).call_and_wait().await?.0.len()}));
    end(&agent, &ic, id).await
}

async fn create(agent: &Agent, ic: &ManagementCanister<'_>, effective: Principal) -> Done<Principal> {
    let (id,) = ic
        .create_canister()
        .as_provisional_create_with_amount(Some(1_000_000_000_000))
        .with_effective_canister_id(effective)
        .with_controller(agent.get_principal()?)
        .with_log_memory_limit(8192_u64)
        .call_and_wait()
        .await?;
    say("created", json!({"id": id.to_text()}));
    Ok(id)
}

async fn install(agent: &Agent, ic: &ManagementCanister<'_>, id: Principal, module: &[u8]) -> Done {
    ic.install_code(&id, module).call_and_wait().await?;
    let hash = agent.read_state_canister_module_hash(id).await?;
    say(
        "installed",
        json!({"hash": hex(&hash), "controllers": agent.read_state_canister_controllers(id).await?.len()}),
    );
    let mut answers = vec![];
    for _ in 0..2 {
        let reply = agent.update(&id, "add").with_arg(Encode!()?).call_and_wait().await?;
        answers.push(Decode!(&reply, u64)?);
    }
    let reply = agent.query(&id, "peek").with_arg(Encode!()?).call().await?;
    answers.push(Decode!(&reply, u64)?);
    say("called", json!({"answers": answers}));
    Ok(())
}

async fn status(agent: &Agent, ic: &ManagementCanister<'_>, id: Principal) -> Done {
    let (queried,) = ic.canister_status(&id).call().await?;
    let (called,) = ic.canister_status(&id).as_update().call().await?;
    let newer = newest_status(agent, id).await?;
    say(
        "status",
        json!({
            "equal": queried.settings == called.settings && queried.module_hash == called.module_hash,
            "status": format!("{:?}", queried.status),
            "cycles": queried.cycles.0.to_string(),
            "log_memory_limit": queried.settings.log_memory_limit.0.to_string(),
            "log_memory_store_size": queried.memory_metrics.log_memory_store_size.0.to_string(),
            "snapshot_visibility": format!("{:?}", queried.settings.snapshot_visibility),
            "status_visibility": format!("{:?}", newer.settings.status_visibility),
            "minimum_incoming": newer.settings.minimum_incoming_canister_call_cycles.0.to_string(),
        }),
    );
    Ok(())
}

async fn newest_status(agent: &Agent, id: Principal) -> Done<newest::CanisterStatusResult> {
    let arg = Encode!(&newest::CanisterIdRecord { canister_id: id })?;
    let management = Principal::management_canister();
    let reply = agent.query(&management, "canister_status").with_arg(arg).with_effective_canister_id(id).call().await?;
    Ok(Decode!(&reply, newest::CanisterStatusResult)?)
}

async fn settings(agent: &Agent, ic: &ManagementCanister<'_>, id: Principal) -> Done {
    ic.update_settings(&id)
        .with_freezing_threshold(7_u64)
        .with_log_visibility(LogVisibility::Public)
        .call_and_wait()
        .await?;
    let wanted = newest::UpdateSettingsArgs {
        canister_id: id,
        settings: newest::CanisterSettings {
            status_visibility: Some(newest::StatusVisibility::Public),
            minimum_incoming_canister_call_cycles: Some(Nat::from(5_u8)),
            ..Default::default()
        },
        sender_canister_version: None,
    };
    agent
        .update(&Principal::management_canister(), "update_settings")
        .with_arg(Encode!(&wanted)?)
        .with_effective_canister_id(id)
        .call_and_wait()
        .await?;
    let settings = newest_status(agent, id).await?.settings;
    say(
        "settings",
        json!({
            "threshold": settings.freezing_threshold.0.to_string(),
            "minimum_incoming": settings.minimum_incoming_canister_call_cycles.0.to_string(),
            "status_visibility": format!("{:?}", settings.status_visibility),
        }),
    );
    Ok(())
}

async fn look(agent: &Agent, ic: &ManagementCanister<'_>, id: Principal, subnet: Principal) -> Done {
    let filter = Some(CanisterLogFilter::ByIdx { start: 0, end: 0 });
    let (logs,) = ic.fetch_canister_logs(&FetchCanisterLogsArgs { canister_id: id, filter }).call().await?;
    let name = "candid:service".to_owned();
    let (metadata,) =
        ic.canister_metadata(&CanisterMetadataArgs { canister_id: id, name: name.clone() }).call().await?;
    let certified = agent.read_state_canister_metadata(id, &name).await?;
    let (metrics,) = ic.canister_metrics(&id).call().await?;
    let listed = ic.list_canisters(subnet).await?;
    say(
        "looked",
        json!({
            "log": logs.canister_log_records.iter().map(|one| String::from_utf8_lossy(&one.content)).collect::<Vec<_>>(),
            "metadata": String::from_utf8_lossy(&metadata.value),
            "certified": metadata.value == certified,
            "burned": metrics.cycles_consumed.burned_cycles.0.to_string(),
            "listed": listed.canisters.iter().any(|range| range.start <= id && id <= range.end),
        }),
    );
    Ok(())
}

async fn end(agent: &Agent, ic: &ManagementCanister<'_>, id: Principal) -> Done {
    ic.stop_canister(&id).call_and_wait().await?;
    let take = TakeCanisterSnapshotArgs {
        canister_id: id,
        replace_snapshot: None,
        uninstall_code: None,
        sender_canister_version: None,
    };
    let (snapshot,) = ic.take_canister_snapshot(&take).call_and_wait().await?;
    let (list,) = ic.list_canister_snapshots(&id).call_and_wait().await?;
    let snapshot_id = snapshot.id;
    let load =
        LoadCanisterSnapshotArgs { canister_id: id, snapshot_id: snapshot_id.clone(), sender_canister_version: None };
    ic.load_canister_snapshot(&load).call_and_wait().await?;
    ic.delete_canister_snapshot(&DeleteCanisterSnapshotArgs { canister_id: id, snapshot_id }).call_and_wait().await?;
    say("snapshots", json!({"listed": list.len(), "size": snapshot.total_size}));
    ic.start_canister(&id).call_and_wait().await?;
    let top_up = ProvisionalTopUpCanisterArgs { canister_id: id, amount: Nat::from(7_u8) };
    ic.provisional_top_up_canister(&id, &top_up).call_and_wait().await?;
    ic.stop_canister(&id).call_and_wait().await?;
    ic.uninstall_code(&id).call_and_wait().await?;
    ic.delete_canister(&id).call_and_wait().await?;
    let gone = agent.update(&id, "add").with_arg(Encode!()?).call_and_wait().await;
    say("deleted", json!({"error": gone.map_or_else(|error| error.to_string(), |_| String::new())}));
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
