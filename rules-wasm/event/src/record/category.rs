//! The categories of Azure's resource logs.

use crate::json::{Value, text_of};

/// Whether an Azure category holds audit events, else its name.
pub(crate) fn audit_category(value: Option<Value<'_, '_>>) -> Result<(), Option<String>> {
    match text_of(value) {
        Some(category) if category == "kube-audit" || category == "kube-audit-admin" => Ok(()),
        other => Err(other.map(|category| category.to_string())),
    }
}
