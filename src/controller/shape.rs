//! How deep and how large a JSON text is, told by its characters alone, so that no text can be too deep or too large to
//! ask. Pure.

/// What can be told of a JSON text without building it.
pub(super) struct Shape {
    /// How many brackets are open at most at one place.
    pub(super) depth: usize,
    /// How many values there are, or a few more.
    pub(super) values: usize,
}

impl Shape {
    /// The shape of that text, in one walk over its bytes.
    pub(super) fn of(json: &str) -> Self {
        let mut shape = Self { depth: 0, values: 0 };
        let (mut open, mut in_text, mut escaped) = (0_usize, false, false);
        for byte in json.bytes() {
            if in_text {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => in_text = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => in_text = true,
                    b'{' | b'[' => {
                        open += 1;
                        shape.depth = shape.depth.max(open);
                        shape.values += 1;
                    }
                    b'}' | b']' => open = open.saturating_sub(1),
                    b',' => shape.values += 1,
                    _ => {}
                }
            }
        }
        shape
    }
}
