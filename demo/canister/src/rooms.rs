//! Chat rooms: who is in them and what was said. No calls to the IC.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use candid::{CandidType, Principal};
use serde::Deserialize;

const MOST_ROOMS: usize = 100;
const MOST_LINES: usize = 100;
const MOST_NAME: usize = 32;
const MOST_TEXT: usize = 1000;

/// What a member has said; the time is the canister's, in nanoseconds.
#[derive(CandidType, Deserialize, Clone)]
pub struct Line {
    pub from: Principal,
    pub text: String,
    pub timestamp: u64,
}

/// A room in a list of rooms.
#[derive(CandidType)]
pub struct Summary {
    pub name: String,
    pub members: u64,
    pub lines: u64,
}

/// The lines of each room by its name, the oldest first.
pub type Said = BTreeMap<String, Vec<Line>>;

#[derive(Default)]
struct Room {
    members: BTreeSet<Principal>,
    lines: VecDeque<Line>,
}

#[derive(Default)]
pub struct Rooms {
    rooms: BTreeMap<String, Room>,
}

impl Rooms {
    /// Enter a room, which is made if there is none of this name.
    pub fn join(&mut self, who: Principal, name: &str) -> Result<(), String> {
        if name.is_empty() || name.len() > MOST_NAME || name.contains(char::is_whitespace) {
            return Err(format!("a room's name has 1 to {MOST_NAME} bytes and no space"));
        }
        if !self.rooms.contains_key(name) && self.rooms.len() == MOST_ROOMS {
            return Err(format!("there are {MOST_ROOMS} rooms already"));
        }
        if !self.rooms.entry(name.into()).or_default().members.insert(who) {
            return Err(format!("you are in room {name} already"));
        }
        Ok(())
    }

    pub fn leave(&mut self, who: Principal, name: &str) -> Result<(), String> {
        self.entered(who, name)?.members.remove(&who);
        Ok(())
    }

    /// Remember a line. Returns who should hear it: all members, the speaker too.
    pub fn say(&mut self, name: &str, line: Line) -> Result<Vec<Principal>, String> {
        if line.text.is_empty() || line.text.len() > MOST_TEXT {
            return Err(format!("a line has 1 to {MOST_TEXT} bytes"));
        }
        let room = self.entered(line.from, name)?;
        if room.lines.len() == MOST_LINES {
            room.lines.pop_front();
        }
        room.lines.push_back(line);
        Ok(room.members.iter().copied().collect())
    }

    /// Leave all rooms.
    pub fn forget(&mut self, who: &Principal) {
        for room in self.rooms.values_mut() {
            room.members.remove(who);
        }
    }

    pub fn summaries(&self) -> Vec<Summary> {
        let summary = |(name, room): (&String, &Room)| Summary {
            name: name.clone(),
            members: room.members.len() as u64,
            lines: room.lines.len() as u64,
        };
        self.rooms.iter().map(summary).collect()
    }

    /// What was said in a room last; nothing where there is no such room.
    pub fn lines(&self, name: &str) -> Vec<Line> {
        self.rooms.get(name).map(|room| room.lines.iter().cloned().collect()).unwrap_or_default()
    }

    pub fn said(&self) -> Said {
        self.rooms.keys().map(|name| (name.clone(), self.lines(name))).collect()
    }

    fn entered(&mut self, who: Principal, name: &str) -> Result<&mut Room, String> {
        match self.rooms.get_mut(name) {
            Some(room) if room.members.contains(&who) => Ok(room),
            _ => Err(format!("you are not in room {name}")),
        }
    }
}

impl From<Said> for Rooms {
    /// With nobody in the rooms.
    fn from(said: Said) -> Self {
        let empty = |(name, lines): (String, Vec<Line>)| (name, Room { lines: lines.into(), ..Room::default() });
        Self { rooms: said.into_iter().map(empty).collect() }
    }
}
