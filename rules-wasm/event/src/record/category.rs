//! Categories of Azure's resource logs.

use crate::json::{Value, text_of};

/// Checks that an Azure category contains audit events.
///
/// # Errors
/// It does not: the category's name, if there is one.
pub(crate) fn audit_category(value: Option<Value<'_, '_>>) -> Result<(), Option<String>> {
    match text_of(value) {
        Some(category) if category == "kube-audit" || category == "kube-audit-admin" => Ok(()),
        other => Err(other.map(|category| category.to_string())),
    }
}
