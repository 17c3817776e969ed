//! Questions to an answer, in CEL: <https://cel.dev>. Pure.
//!
//! `response` has `status`, a number; `headers`, by name in lower case; `body`, the text; and `json`, the body read
//! as JSON, or null. `initial` is the answer to the first request.

use std::sync::Arc;

use cel::{Context, Env, Program};
use serde_json::{Value, json};

/// The variable with the last answer.
pub const RESPONSE: &str = "response";
/// The variable with the first answer.
pub const INITIAL: &str = "initial";
/// How long an expression may be, in bytes.
const MAX: usize = 2048;
/// How deep it may nest.
const MAX_NESTING: usize = 24;
/// What the parser needs for that and more; 2 MiB, as threads have, are not enough.
const STACK: usize = 32 * 1024 * 1024;

/// Says what is wrong with an expression that may use these variables.
///
/// # Errors
/// In words that repeat nothing of the expression.
pub fn check(text: &str, known: &[&str]) -> Result<(), String> {
    with_stack(|| {
        let program = compile(text)?;
        let names = program.references();
        let dense: String = text.split_whitespace().collect();
        // Such as `s` in `list.all(s, s.done)`, which the references hold as well.
        let is_bound = |name: &str| dense.contains(&format!("({name},"));
        match names.variables().into_iter().find(|name| !known.contains(name) && !is_bound(name)) {
            Some(_) => Err(format!("uses a variable that is not there; there is: {}", known.join(", "))),
            None => Ok(()),
        }
    })
}

fn compile(text: &str) -> Result<Program, String> {
    if text.trim().is_empty() || text.len() > MAX {
        return Err(format!("must be a CEL expression of at most {MAX} bytes"));
    }
    if nesting(text) > MAX_NESTING {
        return Err(format!(
            "is no CEL expression that can be read: it nests more than {MAX_NESTING} levels deep"
        ));
    }
    Env::stdlib().compile(text).map_err(|errors| match errors.errors.first() {
        Some(error) => {
            let (line, column) = error.pos;
            format!("is no CEL expression: look at line {line}, column {column}")
        }
        None => "is no CEL expression".to_owned(),
    })
}

/// At least how deep a text nests: by brackets, by operators before others, and by choices within choices.
fn nesting(text: &str) -> usize {
    let (mut open, mut deepest, mut before, mut longest) = (0_usize, 0, 0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'!' | b'-' => before += 1,
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            _ => {}
        }
        if !matches!(byte, b'!' | b'-') {
            before = 0;
        }
        (deepest, longest) = (deepest.max(open), longest.max(before));
    }
    deepest + longest + text.matches('?').count()
}

/// An answer, as expressions see it.
#[derive(Clone, Debug)]
pub struct Answer(Value);

impl Answer {
    /// From its parts; names of headers are in lower case already.
    pub fn new(status: u16, headers: &serde_json::Map<String, Value>, body: &str) -> Self {
        let json: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        Self(json!({"status": status, "headers": headers, "body": body, "json": json}))
    }
}

/// Asks whether something holds.
///
/// # Errors
/// If the expression fails, or is neither true nor false.
pub fn holds(text: &str, response: &Answer, initial: &Answer) -> Result<bool, String> {
    match value(text, response, initial)? {
        Value::Bool(holds) => Ok(holds),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Err("is neither true nor false".to_owned())
        }
    }
}

/// Asks for a value.
///
/// # Errors
/// If the expression fails, for example for a field that is not there.
pub fn value(text: &str, response: &Answer, initial: &Answer) -> Result<Value, String> {
    with_stack(|| {
        let program = compile(text)?;
        let mut context = Context::with_env(Arc::new(Env::stdlib()));
        for (name, answer) in [(RESPONSE, response), (INITIAL, initial)] {
            context.add_variable(name, &answer.0).map_err(|_| "cannot be asked of this answer".to_owned())?;
        }
        let value = program.execute(&context).map_err(|error| error.to_string())?;
        value.json().map_err(|_| "gives nothing that JSON can hold".to_owned())
    })
}

/// Does it on a stack that is deep enough; a panic is an error.
fn with_stack<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let result = thread.ok().and_then(|thread| thread.join().ok());
        result.unwrap_or_else(|| Err("cannot be worked out".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{Answer, MAX, RESPONSE, check, holds, value};

    fn answer(status: u16, body: &str) -> Answer {
        let headers = json!({"content-type": "application/json"});
        Answer::new(status, headers.as_object().unwrap(), body)
    }

    #[rstest]
    #[case("response.status == 201", true)]
    #[case("response.status >= 200 && response.status < 300", true)]
    #[case(r#"response.json.state == "done""#, true)]
    #[case(r#"response.headers["content-type"].startsWith("application/")"#, true)]
    #[case("has(response.json.error)", false)]
    #[case("response.json.steps.all(s, s.done)", false)]
    #[case(r#"response.body.matches("st.te")"#, true)]
    fn an_answer_can_be_asked(#[case] question: &str, #[case] expected: bool) {
        let answer = answer(201, r#"{"state": "done", "steps": [{"done": true}, {"done": false}]}"#);
        assert_eq!(check(question, &[RESPONSE]), Ok(()));
        assert_eq!(holds(question, &answer, &answer), Ok(expected));
    }

    #[test]
    fn numbers_texts_lists_and_objects_come_out_as_they_were() {
        let answer = answer(200, r#"{"a": [1, -2, 0.5, "x", true, null, {"b": 18446744073709551615}]}"#);
        let out = value("response.json.a", &answer, &answer).unwrap();
        assert_eq!(out, json!([1, -2, 0.5, "x", true, null, {"b": u64::MAX}]));
    }

    #[rstest]
    #[case("response.status ==", "is no CEL expression")]
    #[case("sesame.status == 1", "a variable that is not there")]
    #[case("", "must be a CEL expression")]
    #[case(&"1+".repeat(MAX), "must be a CEL expression")]
    #[case(&format!("{}1{}", "(".repeat(900), ")".repeat(900)), "is no CEL expression")]
    #[case(&"[".repeat(1900), "is no CEL expression")]
    #[case(&"!".repeat(1900), "is no CEL expression")]
    #[case(&"- ! ".repeat(400), "is no CEL expression")]
    #[case(&"true ? 1 : ".repeat(150), "is no CEL expression")]
    #[case(&format!("{}1{}", "[".repeat(25), "]".repeat(25)), "24 levels")]
    fn what_is_wrong_with_an_expression_is_told_without_it(#[case] question: &str, #[case] why: &str) {
        let problem = check(question, &[RESPONSE]).unwrap_err();
        assert!(problem.contains(why) && !problem.contains("sesame"), "{problem}");
    }

    #[rstest]
    #[case(&format!("{}true{}", "(".repeat(24), ")".repeat(24)))]
    #[case(&format!("{}true", "!".repeat(24)))]
    #[case(&format!("{}true", "true || ".repeat(200)))]
    #[case(&format!("{}1 > 0", "1 + ".repeat(500)))]
    #[case(&format!("response{}", ".json".repeat(400)))]
    fn what_is_as_deep_or_as_long_as_it_may_be_is_read(#[case] question: &str) {
        assert_eq!(check(question, &[RESPONSE]), Ok(()));
    }

    #[test]
    fn a_field_that_is_missing_is_an_error_and_not_false() {
        let answer = answer(200, "no JSON");
        assert!(holds(r#"response.json.state == "done""#, &answer, &answer).is_err());
        assert_eq!(value("response.json", &answer, &answer), Ok(Value::Null));
        assert!(holds("response.status", &answer, &answer).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}", parts in prop::collection::vec("[-a.()\\[\\]{}!?:=<>&|+*/%\"', 0-9]{1,6}", 0..24)) {
            let _ = check(&text, &[RESPONSE]);
            let _ = check(&parts.concat(), &[RESPONSE]);
        }
    }
}
