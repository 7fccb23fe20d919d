//! A host that offers the component what wasmCloud's hosts do.

use std::sync::LazyLock;

use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};

use crate::support::pipeline;
pub(super) use bindings::wasmcloud::messaging::types::BrokerMessage;
use bindings::wasmcloud::messaging::{consumer, types};
use bindings::{Messaging, MessagingPre};

/// What wasmtime makes of the component's world.
pub(super) mod bindings {
    wasmtime::component::bindgen!({ path: "../../rules-wasm/wasmcloud/wit", world: "messaging" });
}

/// What is subscribed to in the manifests, and by which group.
pub(super) const SUBSCRIPTION: &str = "audit.>";
pub(super) const GROUP: &str = "portcullis";

/// The subject that records come on.
pub(super) const SUBJECT: &str = "audit.prod.eu-1";

/// The memory that it is given, in bytes: enough for a message of any size that NATS takes by default.
pub(super) const MEMORY: usize = 48 << 20;

/// The component, compiled once.
pub(super) static COMPONENT: LazyLock<Component> = LazyLock::new(|| {
    let engine = wasmtime::Engine::default();
    Component::new(&engine, pipeline("wasmcloud")).expect("a component")
});

pub(super) static PRE: LazyLock<MessagingPre<Broker>> = LazyLock::new(|| {
    let mut linker = Linker::new(COMPONENT.engine());
    Messaging::add_to_linker::<_, HasSelf<_>>(&mut linker, |broker| broker).expect("linked");
    let pre: InstancePre<Broker> = linker.instantiate_pre(&COMPONENT).expect("it imports nothing else");
    MessagingPre::new(pre).expect("it exports the handler")
});

/// What takes an alert.
pub(super) type Publish = Box<dyn FnMut(&BrokerMessage) -> Result<(), String> + Send>;

/// The host's side of messaging.
pub(super) struct Broker {
    pub(super) publish: Publish,
    pub(super) published: Vec<BrokerMessage>,
    pub(super) limits: StoreLimits,
}

impl types::Host for Broker {}

impl consumer::Host for Broker {
    fn request(&mut self, subject: String, _body: Vec<u8>, _timeout_ms: u32) -> Result<BrokerMessage, String> {
        panic!("it asks nobody for anything: {subject}")
    }

    fn publish(&mut self, message: BrokerMessage) -> Result<(), String> {
        (self.publish)(&message)?;
        self.published.push(message);
        Ok(())
    }
}

/// A running component.
pub(super) struct Handler {
    pub(super) store: Store<Broker>,
    pub(super) messaging: Messaging,
}

impl Handler {
    pub(super) fn new() -> Self {
        Self::publishing(|_| Ok(()))
    }

    pub(super) fn publishing(publish: impl FnMut(&BrokerMessage) -> Result<(), String> + Send + 'static) -> Self {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY).trap_on_grow_failure(true).build();
        let broker = Broker { publish: Box::new(publish), published: Vec::new(), limits };
        let mut store = Store::new(COMPONENT.engine(), broker);
        store.limiter(|broker| &mut broker.limits);
        let messaging = PRE.instantiate(&mut store).expect("it starts");
        Self { store, messaging }
    }

    pub(super) fn handle(&mut self, subject: &str, body: &[u8]) -> Result<(), String> {
        let reply_to = Some("nobody.answers".to_owned());
        let message = BrokerMessage { subject: subject.to_owned(), body: body.to_vec(), reply_to };
        let handler = self.messaging.wasmcloud_messaging_handler();
        handler.call_handle_message(&mut self.store, &message).expect("it does not trap")
    }

    /// What was published since this was last asked.
    pub(super) fn published(&mut self) -> Vec<BrokerMessage> {
        std::mem::take(&mut self.store.data_mut().published)
    }
}
