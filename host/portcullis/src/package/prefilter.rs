//! The prefilter: a rule's declared condition, which lets the host skip the rule.

use std::fmt;

use portcullis_event::Event;
use serde_json::Value;
use thiserror::Error;

/// A field of the event that a prefilter can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the field of the event with that name")]
pub enum Field {
    LogType,
    Stage,
    Verb,
    Username,
    UserArn,
    SourceScope,
    UserAgent,
    Resource,
    Subresource,
    ApiGroup,
    Namespace,
    Name,
    RequestUri,
    ServiceType,
    Cluster,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::LogType,
        Self::Stage,
        Self::Verb,
        Self::Username,
        Self::UserArn,
        Self::SourceScope,
        Self::UserAgent,
        Self::Resource,
        Self::Subresource,
        Self::ApiGroup,
        Self::Namespace,
        Self::Name,
        Self::RequestUri,
        Self::ServiceType,
        Self::Cluster,
    ];

    /// Returns the field's name in the event's JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LogType => "logType",
            Self::Stage => "stage",
            Self::Verb => "verb",
            Self::Username => "username",
            Self::UserArn => "userArn",
            Self::SourceScope => "sourceScope",
            Self::UserAgent => "userAgent",
            Self::Resource => "resource",
            Self::Subresource => "subresource",
            Self::ApiGroup => "apiGroup",
            Self::Namespace => "namespace",
            Self::Name => "name",
            Self::RequestUri => "requestURI",
            Self::ServiceType => "serviceType",
            Self::Cluster => "cluster",
        }
    }

    /// Returns the field's value in an event.
    #[must_use]
    pub fn of<'e>(self, event: &'e Event<'_>) -> Option<&'e str> {
        match self {
            Self::LogType => Some(event.log_type.as_str()),
            Self::Stage => event.stage.as_deref(),
            Self::Verb => event.verb.as_deref(),
            Self::Username => event.username.as_deref(),
            Self::UserArn => event.user_arn.as_deref(),
            Self::SourceScope => Some(event.source_scope.as_str()),
            Self::UserAgent => event.user_agent.as_deref(),
            Self::Resource => event.resource.as_deref(),
            Self::Subresource => event.subresource.as_deref(),
            Self::ApiGroup => event.api_group.as_deref(),
            Self::Namespace => event.namespace.as_deref(),
            Self::Name => event.name.as_deref(),
            Self::RequestUri => event.request_uri.as_deref(),
            Self::ServiceType => event.service_type.as_deref(),
            Self::Cluster => event.cluster.as_deref(),
        }
    }
}

/// A value that a field may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Matches this value.
    Exact(String),
    /// Matches all values with this prefix; written with `*` at the end.
    Prefix(String),
}

impl Pattern {
    /// Returns these patterns as text.
    #[must_use]
    pub fn any_of(patterns: &[Self]) -> String {
        patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
    }

    /// Parses a pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(exact) => value == exact,
            Self::Prefix(prefix) => value.starts_with(prefix),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => formatter.write_str(exact),
            Self::Prefix(prefix) => write!(formatter, "{prefix}*"),
        }
    }
}

/// The patterns of each field, one of which must match. All fields must match, and an absent field does not. An empty
/// prefilter lets every event through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefilter(Vec<(Field, Vec<Pattern>)>);

/// A prefilter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PrefilterError {
    /// It is not a JSON object.
    #[error("is not an object of fields and their values")]
    NotAnObject,
    /// Events do not have this field.
    #[error("names the unknown field {0:?}; expected one of {fields}", fields = Field::ALL.map(Field::name).join(", "))]
    Field(String),
    /// The field's values are not a list of texts, or the list or a text is empty, so that no event could match.
    #[error("has an invalid value for {0}; expected a list of at least one text, without empty texts")]
    Values(&'static str),
}

impl Prefilter {
    /// Parses a manifest's `prefilter`.
    ///
    /// # Errors
    /// It is not an object of known fields, each with a list of at least one text.
    pub fn from_json(value: &Value) -> Result<Self, PrefilterError> {
        let fields = value.as_object().ok_or(PrefilterError::NotAnObject)?;
        let mut prefilter = Self::default();
        for (name, values) in fields {
            let field = Field::ALL.into_iter().find(|field| field.name() == name);
            let field = field.ok_or_else(|| PrefilterError::Field(name.clone()))?;
            let texts: Option<Vec<&str>> = values.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
            let texts = texts
                .filter(|texts| !texts.is_empty() && !texts.contains(&""))
                .ok_or(PrefilterError::Values(field.name()))?;
            prefilter.0.push((field, texts.into_iter().map(Pattern::new).collect()));
        }
        Ok(prefilter)
    }

    /// Returns the fields and their patterns.
    #[must_use]
    pub fn fields(&self) -> &[(Field, Vec<Pattern>)] {
        &self.0
    }

    /// Returns the first field that does not match, if there is one.
    #[must_use]
    pub fn first_miss(&self, event: &Event<'_>) -> Option<(Field, &[Pattern])> {
        let misses = |field: Field, patterns: &[Pattern]| {
            !field.of(event).is_some_and(|value| patterns.iter().any(|pattern| pattern.matches(value)))
        };
        self.0.iter().find(|(field, patterns)| misses(*field, patterns)).map(|(field, patterns)| (*field, &**patterns))
    }

    /// Returns its JSON, as in a manifest.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let texts = |patterns: &[Pattern]| patterns.iter().map(|pattern| Value::from(pattern.to_string())).collect();
        Value::Object(self.0.iter().map(|(field, patterns)| (field.name().to_owned(), texts(patterns))).collect())
    }
}
