//! What decoding hands on: checked readings of one session, ready for its device's sessions.
//!
//! Series travel as small indexes that hold within a session ([`SeriesTable`]), so a name is checked and copied
//! once and not with every reading. Everything here is checked: names, finite values, times within bounds.
//!
//! - `batch`: the messages that are handed on together; `reading`, `states`, `message`, `refusal`, `reply`: what they
//!   consist of; `cost`: how much work they are;
//! - `value`: what a reading says, a number or a state; `state_support`: whether the aggregator takes states;
//! - `series_table`: a session's series by name; `shapes`: how its messages look;
//! - `metric_spellings`, `name_collisions`: names that are written differently and mapped to one;
//! - `time_rules`: which event times are taken.

mod batch;
mod cost;
mod message;
mod metric_spellings;
mod name_collisions;
mod reading;
mod refusal;
mod reply;
mod series_table;
pub(crate) mod shapes;
mod state_support;
mod states;
mod time_rules;
mod value;

pub use self::{
    batch::Intake,
    message::{MessageMeta, MqttEffect},
    name_collisions::{NameCollisions, NameSpelling},
    reading::Reading,
    refusal::{Reason, Refusal},
    reply::{Message, Outcome, Reply},
    series_table::SeriesTable,
    state_support::StateSupport,
    states::States,
    time_rules::TimeRules,
};
pub(crate) use self::{
    name_collisions::NameKind,
    reading::NO_NUMBER,
    states::MESSAGE_STATE_BYTES_MAX,
    value::{Value, check_state},
};
