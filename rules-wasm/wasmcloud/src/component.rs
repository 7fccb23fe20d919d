//! The exported handler.

use portcullis_detect::{Buffers, NotEvaluated, detect_inside, to_json};

use bindings::exports::wasmcloud::messaging::handler::Guest;
use bindings::wasmcloud::messaging::consumer::publish;
use bindings::wasmcloud::messaging::types::BrokerMessage;

/// Bindings that wit-bindgen generates from `wit/world.wit`.
#[expect(clippy::same_length_and_capacity, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ world: "messaging", path: "wit", generate_all, default_bindings_module: "crate::component::bindings" });
}

struct Handler;

bindings::export!(Handler with_types_in bindings);

impl Guest for Handler {
    /// Publishes each alert of the record in the message's body, or of the records in its envelope, as JSON on the
    /// subject `alerts.SUBJECT`, where `SUBJECT` is the message's own.
    ///
    /// Ignores records that are not Kubernetes audit events, because clouds send several kinds of records to one place.
    /// An error says why the body cannot be read, or which alert could not be published. The host decides what to do
    /// with the message.
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let alerts = match detect_inside(&message.body, &mut Buffers::default()) {
            Ok(alerts) => alerts,
            Err(NotEvaluated::Ignored(_)) => return Ok(()),
            Err(not_evaluated) => {
                return Err(format!("the message on {} is not a record: {not_evaluated}", message.subject));
            }
        };
        let subject = format!("alerts.{}", message.subject);
        for alert in alerts {
            let message =
                BrokerMessage { subject: subject.clone(), body: to_json(&alert).into_bytes(), reply_to: None };
            publish(&message).map_err(|error| {
                format!("alert {} of {} was not published on {subject}: {error}", alert.alert_id, alert.about.rule_id)
            })?;
        }
        Ok(())
    }
}
