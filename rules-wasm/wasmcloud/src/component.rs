//! The exported handler.

use portcullis_detect::{Buffers, Unjudged, detect_inside, to_json};

use bindings::exports::wasmcloud::messaging::handler::Guest;
use bindings::wasmcloud::messaging::consumer::publish;
use bindings::wasmcloud::messaging::types::BrokerMessage;

/// What wit-bindgen makes of `wit/world.wit`.
#[expect(clippy::same_length_and_capacity, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ world: "messaging", path: "wit", generate_all, default_bindings_module: "crate::component::bindings" });
}

struct Handler;

bindings::export!(Handler with_types_in bindings);

impl Guest for Handler {
    /// Publishes each alert of the record in a message's body, or of those in what carries them, as JSON, on `alerts.` and the message's own subject.
    ///
    /// What is no Kubernetes audit event is passed over: clouds send many kinds of records along one way. An error says why
    /// the body cannot be read, or which alert could not be published: the host decides what becomes of the message.
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let alerts = match detect_inside(&message.body, &mut Buffers::default()) {
            Ok(alerts) => alerts,
            Err(Unjudged::Ignored(_)) => return Ok(()),
            Err(unjudged) => return Err(format!("the message on {} is no record: {unjudged}", message.subject)),
        };
        let subject = format!("alerts.{}", message.subject);
        for alert in alerts {
            let message =
                BrokerMessage { subject: subject.clone(), body: to_json(&alert).into_bytes(), reply_to: None };
            publish(&message).map_err(|error| {
                format!("alert {} of {} was not published on {subject}: {error}", alert.alert_id, alert.rule_id)
            })?;
        }
        Ok(())
    }
}
