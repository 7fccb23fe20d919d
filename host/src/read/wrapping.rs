//! What clouds put records into: which records a document holds.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portcullis_event::json::{self, Raw, Read};
use portcullis_event::{Buffers, Ignored, LISTS, Outcome, Rejected, normalize};
use serde::de::IgnoredAny;

use super::{Document, Documents, MAX_RECORD, Place, cloudwatch};

/// How many wrappings there may be around a record: a list of Pub/Sub messages that hold lists of CloudWatch messages
/// has five.
const MAX_DEPTH: usize = 8;

/// The lists of CloudWatch, whose items' `message` is the record whatever it looks like.
const MESSAGE_LISTS: [&str; 2] = ["logEvents", "events"];

/// Takes the records out of documents.
#[derive(Default)]
pub struct Records {
    buffers: Buffers,
}

/// A record and where it stands.
#[derive(Debug)]
pub struct Record<'r> {
    /// Its bytes, or the first of them if it is too long.
    pub bytes: &'r [u8],
    /// Its place in the input.
    pub place: Place<'r>,
}

/// What is done with a record.
type Each<'f, E> = &'f mut dyn FnMut(&Record<'_>, Outcome<'_>) -> Result<(), E>;

impl Records {
    /// Shows each record of a document with its outcome: the document itself, unless it is a wrapping.
    ///
    /// # Errors
    /// The first error of `each`, which ends it.
    pub fn for_each<E>(&mut self, document: &Document<'_>, each: Each<'_, E>) -> Result<(), E> {
        let position = Place::position(document.line, document.column);
        let place = document.item.map_or(position, |item| position.item(item));
        if document.length > document.bytes.len() as u64 {
            let rejected = Rejected::TooLong { length: document.length, max: MAX_RECORD };
            return each(&Record { bytes: document.bytes, place }, Outcome::Rejected(rejected));
        }
        let list = document.item.and_then(|item| item.list);
        unwrap(document.bytes, place, list, MAX_DEPTH, &mut self.buffers, each)
    }
}

/// `list` is the list that the text was an item of.
fn unwrap<E>(
    bytes: &[u8],
    place: Place<'_>,
    list: Option<&str>,
    depth: usize,
    buffers: &mut Buffers,
    each: Each<'_, E>,
) -> Result<(), E> {
    let outcome = normalize(bytes, buffers);
    let inside = match &outcome {
        _ if depth == 0 => Inside::Nothing,
        Outcome::Ignored(Ignored::Shape) => inside_object(bytes, list),
        Outcome::Rejected(Rejected::NotAnObject) if bytes.trim_ascii_start().starts_with(b"[") => {
            Inside::Documents(Documents::inside)
        }
        Outcome::Rejected(Rejected::NotJson(_) | Rejected::NotUtf8 { .. }) => inside_broken(bytes),
        _ => Inside::Nothing,
    };
    match inside {
        Inside::Nothing => each(&Record { bytes, place }, outcome),
        Inside::Ignored(ignored) => each(&Record { bytes, place }, Outcome::Ignored(ignored)),
        Inside::Rest(rest) => unwrap(rest, place, None, depth - 1, &mut Buffers::default(), each),
        Inside::Member(path, text) => {
            unwrap(text.as_bytes(), place.member(path), None, depth - 1, &mut Buffers::default(), each)
        }
        Inside::Documents(documents) => {
            let mut documents = documents(bytes);
            while let Ok(Some(Document { bytes, line, column, item, .. })) = documents.next_document() {
                let around = place.moved(line, column);
                let place = item.map_or(around, |item| around.item(item));
                let list = item.and_then(|item| item.list);
                unwrap(bytes, place, list, depth - 1, &mut Buffers::default(), each)?;
            }
            Ok(())
        }
    }
}

/// Where the records of a document are that is none itself.
enum Inside<'t> {
    Nothing,
    Ignored(Ignored),
    /// Behind something that is no JSON.
    Rest(&'t [u8]),
    /// In a member.
    Member(&'static str, Cow<'t, str>),
    /// In documents: one after the other, or the items of a list.
    Documents(fn(&'t [u8]) -> Documents<&'t [u8]>),
}

/// What an object holds that is no record.
fn inside_object<'t>(bytes: &'t [u8], list: Option<&str>) -> Inside<'t> {
    const MEMBERS: [&str; 2 + LISTS.len()] = json::joined(&["message", "data"], &LISTS);
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let Ok([message, data, lists @ ..]) = json::members(text, MEMBERS) else { return Inside::Nothing };
    if lists.iter().flatten().any(|list| list.get().starts_with('[')) {
        return match cloudwatch::other_stream(text) {
            Some(ignored) => Inside::Ignored(ignored),
            None => Inside::Documents(Documents::inside),
        };
    }
    if let Some(object) = message.map(Raw::get).filter(|message| message.starts_with('{')) {
        return Inside::Member("message", object.into());
    }
    if let Read::Present(message) = json::text(message) {
        let is_the_record = list.is_some_and(|list| MESSAGE_LISTS.contains(&list));
        if is_the_record && let Some(ignored) = cloudwatch::other_stream(text) {
            return Inside::Ignored(ignored);
        }
        if is_the_record || is_object(message.as_bytes()) {
            return Inside::Member("message", message.into_cow());
        }
    }
    // A Pub/Sub message.
    if let Read::Present(data) = json::text(data)
        && let Ok(decoded) = BASE64_STANDARD.decode(data.as_bytes())
        && is_object(&decoded)
        && let Ok(text) = String::from_utf8(decoded)
    {
        return Inside::Member("data", text.into());
    }
    Inside::Nothing
}

/// What a text holds that is no JSON: a line of CloudWatch's export, several documents, a wrapping with a broken item. A
/// text in which nothing is whole is one broken record.
fn inside_broken(bytes: &[u8]) -> Inside<'_> {
    match bytes.trim_ascii_start().first() {
        Some(b'0'..=b'9') => cloudwatch::behind_timestamp(bytes).map_or(Inside::Nothing, Inside::Rest),
        Some(b'{' | b'[') => {
            let whole = |documents: &fn(_) -> Documents<_>| {
                let mut documents = documents(bytes);
                let (mut count, mut whole) = (0, false);
                while let Ok(Some(document)) = documents.next_document() {
                    count += 1;
                    whole |= is_object(document.bytes);
                }
                whole && count > 1
            };
            [Documents::one_after_the_other, Documents::inside]
                .into_iter()
                .find(whole)
                .map_or(Inside::Nothing, Inside::Documents)
        }
        _ => Inside::Nothing,
    }
}

fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}
