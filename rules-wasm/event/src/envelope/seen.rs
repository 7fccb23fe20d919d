//! Records that several members of one object hold, for example as text and parsed: each is reported once.

use std::collections::BTreeSet;

use crate::record::Outcome;

/// Keys of the records that were found so far, as far as they matter to the member that is being searched.
#[derive(Default)]
pub(super) struct Seen {
    /// Found in earlier members of the objects around the current member.
    before: BTreeSet<Vec<u8>>,
    /// Found in the current member.
    found: Vec<Vec<u8>>,
}

/// An object whose members are being searched.
pub(super) struct Object {
    /// What was found in the member that holds the object.
    outer: Vec<Vec<u8>>,
    /// What was found in the object's own members.
    here: Vec<Vec<u8>>,
}

impl Seen {
    /// Starts with the members of an object.
    pub(super) fn enter(&mut self) -> Object {
        Object { outer: std::mem::take(&mut self.found), here: Vec::new() }
    }

    /// Ends a member: what was found in it is not reported again for the members after it.
    pub(super) fn next_member(&mut self, object: &mut Object) {
        for key in std::mem::take(&mut self.found) {
            if self.before.insert(key.clone()) {
                object.here.push(key);
            }
        }
    }

    /// Ends an object: what was found in it counts as found in the member that holds it.
    pub(super) fn leave(&mut self, mut object: Object) {
        for key in &object.here {
            self.before.remove(key);
        }
        self.found = object.outer;
        self.found.append(&mut object.here);
    }

    /// Adds a record, and returns whether it is new: whether no earlier member holds it.
    pub(super) fn insert(&mut self, outcome: &Outcome<'_>) -> bool {
        let key = key(outcome);
        let is_new = !self.before.contains(&key);
        if is_new {
            self.found.push(key);
        }
        is_new
    }
}

/// What tells a record from others in one document: an event's id, stage and times, or all of the event if it has no
/// id. A client can set the id, but neither stage nor times.
fn key(outcome: &Outcome<'_>) -> Vec<u8> {
    match outcome {
        Outcome::Evaluated(event) => match &event.audit_id {
            Some(id) => {
                let others = [&event.stage, &event.event_time, &event.stage_time];
                let others = others.map(|text| text.as_deref().unwrap_or_default());
                [id, others[0], others[1], others[2]].join("\0").into_bytes()
            }
            None => event.identity(),
        },
        Outcome::Ignored(ignored) => ignored.to_string().into_bytes(),
        Outcome::Rejected(rejected) => rejected.to_string().into_bytes(),
    }
}
