//! What the canister remembers, and what of it an upgrade leaves.

use std::cell::RefCell;
use std::collections::BTreeSet;

use candid::Principal;

use crate::rooms::{Rooms, Said};

#[derive(Default)]
pub struct State {
    /// Who has an open connection.
    pub connected: BTreeSet<Principal>,
    pub rooms: Rooms,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Look at the state. The CDK must not be called meanwhile, for it calls back.
pub fn read<T>(look: impl FnOnce(&State) -> T) -> T {
    STATE.with_borrow(look)
}

/// Change the state. The CDK must not be called meanwhile, for it calls back.
pub fn change<T>(change: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(change)
}

/// Write what was said into stable memory.
pub fn save() {
    let said = read(|state| state.rooms.said());
    ic_cdk::storage::stable_save((said,)).expect("stable memory takes a few hundred lines");
}

/// Read it back. Traps where stable memory has something else, so that the upgrade fails instead of forgetting.
pub fn restore() {
    let (said,): (Said,) = ic_cdk::storage::stable_restore().expect("stable memory has what was saved");
    change(|state| state.rooms = Rooms::from(said));
}
