//! The responses of the admin interface: one line of text, JSON, or whichever of text and JSON a
//! request accepts.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The media type of texts for people.
pub(in crate::adapters::admin) const TEXT: &str = "text/plain";

/// A response of one line of text.
pub(super) fn text(status: StatusCode, words: &str) -> Response {
    (status, format!("{words}\n")).into_response()
}

pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], format!("{text}\n")).into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A response as text for people or as JSON, whichever its request accepts.
pub(super) fn in_form(headers: &HeaderMap, value: &(impl Serialize + ToString)) -> Response {
    if wants_text(headers) { value.to_string().into_response() } else { json(value) }
}

/// Whether a request asks for the text for people.
fn wants_text(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept == TEXT)
}
