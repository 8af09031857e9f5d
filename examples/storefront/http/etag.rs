//! Entity tags, and the conditions that compare them (RFC 9110, 8.8.3 and 13.1).

use std::fmt;

use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use order_domain::{Order, Version};

use super::problem::{Problem, ProblemKind};

/// The entity tag of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntityTag {
    is_weak: bool,
    opaque: String,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntityTags {
    /// `*`: whatever is there.
    Any,
    /// One of these.
    List(Vec<EntityTag>),
}

impl EntityTag {
    /// The tag of an order: its version.
    pub(crate) fn of(order: &Order) -> Self {
        Self::of_version(order.version())
    }

    /// The tag of an order at this version.
    pub(crate) fn of_version(version: Version) -> Self {
        Self { is_weak: false, opaque: version.to_string() }
    }

    /// A weak tag: it shows that an answer changed, and can't be matched by a change.
    pub(crate) fn weak(opaque: String) -> Self {
        Self { is_weak: true, opaque }
    }

    /// Whether it can identify an order at a version.
    pub(crate) fn is_strong(&self) -> bool {
        !self.is_weak
    }

    /// The version that it names, if it names one.
    pub(crate) fn version(&self) -> Option<Version> {
        self.opaque.parse().ok()
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.is_weak { "W/" } else { "" }, self.opaque)
    }
}

impl EntityTags {
    /// The value of a header, whose lines together are one list. `None` without the header.
    pub(crate) fn from_header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let lines: Vec<_> = headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let tags = Self::parse(&lines.join(","));
        tags.map(Some)
            .ok_or_else(|| Problem::invalid(name.as_str(), r#"an ETag as it was given, like "3", a list, or *"#))
    }

    fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        let (mut tags, mut rest) = (Vec::new(), text);
        loop {
            // A list may have empty elements.
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return (!tags.is_empty()).then_some(Self::List(tags));
            }
            let quoted = rest.strip_prefix("W/");
            let (opaque, after) = quoted.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
            tags.push(EntityTag { is_weak: quoted.is_some(), opaque: opaque.to_owned() });
            rest = after.trim_start_matches([' ', '\t']);
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
        }
    }

    /// The strong comparison, which `If-Match` takes: both tags are strong and the same.
    pub(crate) fn contain_strongly(&self, tag: &EntityTag) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tag.is_strong() && tags.contains(tag),
        }
    }

    /// The weak comparison, which `If-None-Match` takes: a proxy that compresses an answer makes its tag weak.
    pub(crate) fn contain_weakly(&self, tag: &EntityTag) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|other| other.opaque == tag.opaque),
        }
    }
}

/// The answer to a question under the conditions of its headers, in the place of an answer with this tag: 412 or 304.
/// `None` where the whole answer is wanted.
pub(crate) fn answer_without_body(headers: &HeaderMap, tag: &EntityTag) -> Result<Option<Response>, Problem> {
    if EntityTags::from_header(headers, &IF_MATCH)?.is_some_and(|tags| !tags.contain_strongly(tag)) {
        return Err(no_match(tag));
    }
    // A value that is malformed matches nothing, and the whole answer is right for every client.
    let known = EntityTags::from_header(headers, &IF_NONE_MATCH).ok().flatten();
    let is_known = known.is_some_and(|tags| tags.contain_weakly(tag));
    Ok(is_known.then(|| (StatusCode::NOT_MODIFIED, [(header::ETAG, tag.to_string())]).into_response()))
}

/// `If-Match` names no tag that is the present one.
pub(crate) fn no_match(tag: &EntityTag) -> Problem {
    let detail = format!("If-Match: the present ETag is {tag}, and no strong one of the request is the same");
    Problem::new(ProblemKind::VersionConflict, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> EntityTag {
        match EntityTags::parse(text) {
            Some(EntityTags::List(tags)) if tags.len() == 1 => tags[0].clone(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn tags_are_compared_as_the_standard_says() {
        // RFC 9110, 8.8.3.2: its table of examples.
        for (one, other, strongly, weakly) in [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
        ] {
            let tags = EntityTags::parse(one).expect(one);
            assert_eq!(tags.contain_strongly(&tag(other)), strongly, "{one} {other}");
            assert_eq!(tags.contain_weakly(&tag(other)), weakly, "{one} {other}");
        }
    }

    #[test]
    fn a_list_may_have_spaces_empty_elements_and_commas_within_quotes() {
        let tags = EntityTags::parse("\"a,b\" ,, W/\"2\",\"\", \"3\"").expect("a list");
        let EntityTags::List(list) = &tags else { panic!("{tags:?}") };
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["\"a,b\"", "W/\"2\"", "\"\"", "\"3\""]);
        assert!(tags.contain_strongly(&tag("\"3\"")) && !tags.contain_strongly(&tag("\"2\"")));
        assert_eq!(EntityTags::parse(" * "), Some(EntityTags::Any));
    }

    #[test]
    fn what_is_not_a_list_of_tags_is_refused() {
        for text in ["", ",", "3", "\"3", "3\"", "w/\"3\"", "W/3", "\"1\" \"2\"", "\"1\", *", "W/ \"3\"", "\"1\"x"] {
            assert_eq!(EntityTags::parse(text), None, "{text}");
        }
    }
}
