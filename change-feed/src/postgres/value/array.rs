//! Arrays in PostgreSQL's text form.

/// `MAXDIM` of PostgreSQL.
const MAX_DIMENSIONS: usize = 6;

/// Who is told what an array consists of, from its first brace to its last.
pub(super) trait Visitor {
    /// An array or a row of it begins.
    fn open(&mut self);
    /// Another element, or another row, follows in what was opened last.
    fn next(&mut self);
    /// An element; `None` is null.
    fn element(&mut self, text: Option<&str>);
    /// What was opened last ends.
    fn close(&mut self);
}

/// Walks through the text of an array whose elements are parted by commas
/// (<https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>). `None` if the text is not one, or says more than
/// its elements: where subscripts don't begin with 1. Then some of it may have been told already.
pub(super) fn walk(text: &str, visitor: &mut impl Visitor) -> Option<()> {
    let mut rest = text;
    let mut depth = 0;
    let mut scratch = String::new();
    loop {
        // An array, a row or an element stands here.
        if let Some(behind) = rest.strip_prefix('{') {
            depth += 1;
            if depth > MAX_DIMENSIONS {
                return None;
            }
            visitor.open();
            rest = behind;
            if !rest.starts_with('}') {
                continue;
            }
        } else if depth == 0 {
            return None;
        } else if let Some(quoted) = rest.strip_prefix('"') {
            rest = take_quoted(quoted, &mut scratch, visitor)?;
        } else {
            let (element, behind) = rest.split_at_checked(rest.find(['{', '}', ',', '"', '\\'])?)?;
            if element.is_empty() {
                return None;
            }
            // The text NULL would be in quotes.
            visitor.element((!element.eq_ignore_ascii_case("null")).then_some(element));
            rest = behind;
        }
        // Behind it, rows end, until another one follows.
        while let Some(behind) = rest.strip_prefix('}') {
            depth -= 1;
            visitor.close();
            rest = behind;
            if depth == 0 {
                return rest.is_empty().then_some(());
            }
        }
        rest = rest.strip_prefix(',')?;
        visitor.next();
    }
}

/// Tells the element that begins behind a quote, and gives what stands behind the next one.
fn take_quoted<'a>(quoted: &'a str, scratch: &mut String, visitor: &mut impl Visitor) -> Option<&'a str> {
    let end = quoted.find(['"', '\\'])?;
    let (plain, behind) = quoted.split_at_checked(end)?;
    if let Some(behind) = behind.strip_prefix('"') {
        visitor.element(Some(plain));
        return Some(behind);
    }
    scratch.clear();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => scratch.push(characters.next()?),
            character => scratch.push(character),
        }
    }
    visitor.element(Some(scratch));
    Some(characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes down what it is told.
    #[derive(Default)]
    struct Notes(String);

    impl Visitor for Notes {
        fn open(&mut self) {
            self.0.push('(');
        }
        fn next(&mut self) {
            self.0.push(' ');
        }
        fn element(&mut self, text: Option<&str>) {
            self.0.push_str(text.map_or("-".to_owned(), |text| format!("<{text}>")).as_str());
        }
        fn close(&mut self) {
            self.0.push(')');
        }
    }

    fn walked(text: &str) -> Option<String> {
        let mut notes = Notes::default();
        walk(text, &mut notes).map(|()| notes.0)
    }

    #[test]
    fn elements_rows_and_nulls_are_told_apart() {
        for (text, expected) in [
            ("{}", "()"),
            ("{1,2}", "(<1> <2>)"),
            ("{1,NULL,3}", "(<1> - <3>)"),
            (r#"{"NULL","",a b}"#, "(<NULL> <> <a b>)"),
            (r#"{"a\"b\\c","{,}"}"#, r#"(<a"b\c> <{,}>)"#),
            ("{{1,2},{3,4}}", "((<1> <2>) (<3> <4>))"),
            ("{{{é}}}", "(((<é>)))"),
        ] {
            assert_eq!(walked(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_array_or_more_than_its_elements_is_refused() {
        for text in [
            "",
            "1",
            "{",
            "}",
            "{1",
            "{1,}",
            "{,1}",
            "{1}}",
            "{1}2",
            "{1 2",
            "{\"a}",
            "{\"a\"b}",
            "{a\"b\"}",
            "{\\a}",
            "{{1}",
            "[0:1]={1,2}",
            "{{{{{{{1}}}}}}}",
            "{\"a\\",
            "null",
            " {1}",
        ] {
            assert_eq!(walked(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_walked_or_refused_without_a_panic(text in "[{},\"\\\\aé]{0,16}") {
            walked(&text);
        }

        #[test]
        fn any_texts_are_told_as_they_are(texts in proptest::collection::vec("\\PC{0,8}", 1..5)) {
            let quoted: Vec<String> =
                texts.iter().map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))).collect();
            let told: Vec<String> = texts.iter().map(|text| format!("<{text}>")).collect();
            prop_assert_eq!(walked(&format!("{{{}}}", quoted.join(","))), Some(format!("({})", told.join(" "))));
        }
    }
}
