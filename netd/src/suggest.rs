//! Which field was meant by one that serde does not know. Never corrects anything by itself.

use netd_core::suggest::nearest;

/// What serde says of an unknown field, with a suggestion behind it where there is a good one.
/// Its message is "unknown field `x`, expected one of `a`, `b`", or "… expected `a`".
pub(crate) fn for_unknown_field(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown field `")?;
    let (given, known) = rest.split_once('`')?;
    // Every second piece between backquotes is a word.
    let word = nearest(given, known.split('`').skip(1).step_by(2))?;
    Some(format!("did you mean `{word}`?"))
}

#[cfg(test)]
mod tests {
    //! Tests of the suggestions.

    use super::*;

    #[test]
    fn an_unknown_field_is_compared_with_those_that_serde_expected() {
        let said = "unknown field `nam`, expected one of `name`, `driver` at line 1 column 8";
        assert_eq!(for_unknown_field(said).as_deref(), Some("did you mean `name`?"));
        assert_eq!(for_unknown_field("unknown field `netwrk`, expected `network`").as_deref(), Some("did you mean `network`?"));
        assert_eq!(for_unknown_field("unknown field `zzz`, expected one of `name`, `driver`"), None);
        assert_eq!(for_unknown_field("missing field `name`"), None);
    }
}
