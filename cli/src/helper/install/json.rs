//! Edits of a text that is a JSON object: one string is set or taken away, every other byte stays.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// One member: its name, and where its value stands.
#[derive(Debug)]
struct Member {
    name: String,
    value: Range<usize>,
}

/// An object, by where it stands in the text.
#[derive(Debug)]
struct Object<'a> {
    text: &'a str,
    /// With its braces.
    span: Range<usize>,
    members: Vec<Member>,
    depth: usize,
}

/// The string at `path`; none where there is nothing, or null.
pub(super) fn get(text: &str, path: &[String]) -> Result<Option<String>, String> {
    let mut object = Object::whole(text)?;
    for (at, name) in path.iter().enumerate() {
        let Some(member) = object.member(name)? else { return Ok(None) };
        let value = &text[member.value.clone()];
        if value == "null" {
            return Ok(None);
        }
        if at + 1 == path.len() {
            return serde_json::from_str(value)
                .map_err(|_| format!("{} is no string, at {}", path.join("."), place(text, &member.value)));
        }
        object = object.child(member.value.clone(), name)?;
    }
    Ok(None)
}

/// Whether `name` is an object with nothing but strings in it, if it is there.
pub(super) fn check_strings(text: &str, name: &str) -> Result<(), String> {
    let object = Object::whole(text)?;
    let Some(member) = object.member(name)?.filter(|member| &text[member.value.clone()] != "null") else {
        return Ok(());
    };
    let strings = object.child(member.value.clone(), name)?;
    match strings.members.iter().find(|member| !text[member.value.clone()].starts_with('"')) {
        None => Ok(()),
        Some(other) => Err(format!("{name}.{} is no string, at {}", other.name, place(text, &other.value))),
    }
}

/// `text` with `value` at `path`; objects that are missing on the way are made.
pub(super) fn set(text: &str, path: &[String], value: &str) -> Result<String, String> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let mut object = Object::whole(text)?;
    let style = object.style();
    for (at, name) in path.iter().enumerate() {
        let rest = || style.nested(&path[at + 1..], value, object.depth + 1);
        match object.member(name)?.map(|member| member.value.clone()) {
            None => return Ok(object.with(name, &rest(), &style)),
            Some(span) if at + 1 == path.len() || &text[span.clone()] == "null" => {
                return Ok(replaced(text, span, &rest()));
            }
            Some(span) => object = object.child(span, name)?,
        }
    }
    Ok(text.to_owned())
}

/// `text` without what is at `path`, and without an object on the way that is empty then.
pub(super) fn remove(text: &str, path: &[String]) -> Result<String, String> {
    let mut object = Object::whole(text)?;
    let mut cut = None;
    for (at, name) in path.iter().enumerate() {
        let Some(index) = object.index(name)? else { return Ok(text.to_owned()) };
        // An object that is left empty goes, too.
        if object.members.len() > 1 || cut.is_none() {
            cut = Some(object.extent(index));
        }
        let span = object.members[index].value.clone();
        if at + 1 < path.len() {
            object = object.child(span, name)?;
        }
    }
    Ok(cut.map_or_else(|| text.to_owned(), |cut| replaced(text, cut, "")))
}

/// Where that is, as errors of the text itself tell it.
fn place(text: &str, span: &Range<usize>) -> String {
    let before = &text[..span.start];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    format!("line {} column {}", before.matches('\n').count() + 1, span.start - line_start + 1)
}

fn replaced(text: &str, span: Range<usize>, by: &str) -> String {
    let mut after = text.to_owned();
    after.replace_range(span, by);
    after
}

impl<'a> Object<'a> {
    fn whole(text: &'a str) -> Result<Self, String> {
        let start = text.len() - text.trim_start().len();
        let span = start..text.trim_end().len().max(start);
        if !text[span.clone()].starts_with('{') {
            serde_json::from_str::<&RawValue>(text).map_err(|error| error.to_string())?;
            return Err("it is no JSON object".to_owned());
        }
        Self::read(text, span, 0).map_err(|error| error.to_string())
    }

    fn child(&self, span: Range<usize>, name: &str) -> Result<Self, String> {
        if !self.text[span.clone()].starts_with('{') {
            return Err(format!("{name} is no object, at {}", place(self.text, &span)));
        }
        Self::read(self.text, span, self.depth + 1).map_err(|error| format!("{name}: {error}"))
    }

    fn read(text: &'a str, span: Range<usize>, depth: usize) -> Result<Self, serde_json::Error> {
        // From the beginning for the whole, so that an error tells the line in the file.
        let Members(read) = serde_json::from_str(if depth == 0 { text } else { &text[span.clone()] })?;
        let place = |raw: &RawValue| {
            let start = raw.get().as_ptr() as usize - text.as_ptr() as usize;
            start..start + raw.get().len()
        };
        let members = read.into_iter().map(|(name, raw)| Member { name, value: place(raw) }).collect();
        Ok(Self { text, span, members, depth })
    }

    /// The names of the file itself count in capitals and small letters alike, as they do for programs in Go.
    fn index(&self, name: &str) -> Result<Option<usize>, String> {
        let same = |found: &str| found == name || self.depth == 0 && found.eq_ignore_ascii_case(name);
        let mut found = self.members.iter().enumerate().filter(|(_, member)| same(&member.name));
        let first = found.next().map(|(index, _)| index);
        if found.next().is_some() {
            return Err(format!("{name} is there twice"));
        }
        Ok(first)
    }

    fn member(&self, name: &str) -> Result<Option<&Member>, String> {
        Ok(self.index(name)?.map(|index| &self.members[index]))
    }

    /// Where the member before `index` ends, or the brace before all.
    fn before(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(self.span.start + 1, |before| self.members[before].value.end)
    }

    /// What goes with a member: the comma before it, or the one behind the first.
    fn extent(&self, index: usize) -> Range<usize> {
        let (start, end) = (self.before(index), self.members[index].value.end);
        if index > 0 {
            return start..end;
        }
        let inside = self.span.end - 1;
        let comma = self.text[end..inside].find(',').filter(|_| self.members.len() > 1);
        start..comma.map_or(inside, |comma| end + comma + 1)
    }

    /// What stands between the last member's comma and its name.
    fn gap(&self) -> Option<&'a str> {
        let rest = &self.text[self.before(self.members.len().checked_sub(1)?)..];
        let gap = &rest[..rest.find('"')?];
        // A comma may have space before it.
        Some(gap.rsplit(',').next().unwrap_or(gap))
    }

    fn style(&self) -> Style {
        match self.gap() {
            None => Style { unit: "\t".to_owned(), one_line: false },
            Some(gap) => match gap.rsplit_once('\n') {
                Some((_, unit)) => Style { unit: unit.to_owned(), one_line: false },
                None => Style { unit: String::new(), one_line: true },
            },
        }
    }

    /// The text with one more member, the last one.
    fn with(&self, name: &str, value: &str, style: &Style) -> String {
        let (name, colon) = (quoted(name), style.colon());
        if let (Some(last), Some(gap)) = (self.members.last(), self.gap()) {
            let end = last.value.end;
            return replaced(self.text, end..end, &format!(",{gap}{name}{colon}{value}"));
        }
        let (open, close) = (style.line(self.depth + 1), style.line(self.depth));
        let inside = self.span.start + 1..self.span.end - 1;
        replaced(self.text, inside, &format!("{open}{name}{colon}{value}{close}"))
    }
}

/// How the text is laid out.
struct Style {
    unit: String,
    one_line: bool,
}

impl Style {
    fn line(&self, depth: usize) -> String {
        if self.one_line { String::new() } else { format!("\n{}", self.unit.repeat(depth)) }
    }

    fn colon(&self) -> &'static str {
        if self.one_line { ":" } else { ": " }
    }

    /// `value`, within as many objects as there are names; these stand at `depth`.
    fn nested(&self, names: &[String], value: &str, depth: usize) -> String {
        let Some((name, rest)) = names.split_first() else { return quoted(value) };
        let inner = self.nested(rest, value, depth + 1);
        let (open, close) = (self.line(depth + 1), self.line(depth));
        format!("{{{open}{}{}{inner}{close}}}", quoted(name), self.colon())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &str) -> Vec<String> {
        names.split('/').map(str::to_owned).collect()
    }

    /// A path, a text, and the same with "usher" there.
    const SET: [(&str, &str, &str); 16] = [
        ("s", "", "{\n\t\"s\": \"usher\"\n}"),
        ("s", "{}", "{\n\t\"s\": \"usher\"\n}"),
        ("s", "{ }\n", "{\n\t\"s\": \"usher\"\n}\n"),
        ("s", "{\"a\":1}", "{\"a\":1,\"s\":\"usher\"}"),
        ("s", "{\n\t\"a\": 1\n}", "{\n\t\"a\": 1,\n\t\"s\": \"usher\"\n}"),
        ("s", "{\n  \"a\": [1, 2],\n  \"b\":{}}", "{\n  \"a\": [1, 2],\n  \"b\":{},\n  \"s\": \"usher\"}"),
        ("s", "{\n  \"a\" : 1\n  , \"b\" : 2\n}", "{\n  \"a\" : 1\n  , \"b\" : 2, \"s\":\"usher\"\n}"),
        ("s", "{\"s\" : \"pass\", \"a\":1e2}", "{\"s\" : \"usher\", \"a\":1e2}"),
        ("s", "{\"S\":null}", "{\"S\":\"usher\"}"),
        ("h/r", "{}", "{\n\t\"h\": {\n\t\t\"r\": \"usher\"\n\t}\n}"),
        ("h/r", "{\"a\":1}", "{\"a\":1,\"h\":{\"r\":\"usher\"}}"),
        ("h/r", "{\n \"h\": {}\n}", "{\n \"h\": {\n  \"r\": \"usher\"\n }\n}"),
        (
            "h/r",
            "{\n \"h\": {\n  \"x\": \"y\"\n }\n}",
            "{\n \"h\": {\n  \"x\": \"y\",\n  \"r\": \"usher\"\n }\n}",
        ),
        ("h/r", "{\"h\":null}", "{\"h\":{\"r\":\"usher\"}}"),
        ("h/r", "{\"h\":{\"R\":\"x\"}}", "{\"h\":{\"R\":\"x\",\"r\":\"usher\"}}"),
        ("h/q\"", "{\"h\":{\"q\\\"\":\"x\"}}", "{\"h\":{\"q\\\"\":\"usher\"}}"),
    ];

    #[test]
    fn a_string_is_set_and_every_other_byte_stays() {
        for (at, before, after) in SET {
            let set = set(before, &path(at), "usher").unwrap();
            assert_eq!(set, after, "{at} in {before:?}");
            assert_eq!(get(&set, &path(at)).unwrap().as_deref(), Some("usher"), "{set}");
        }
    }

    #[test]
    fn what_was_set_can_be_removed() {
        for (at, before, after) in SET {
            let removed = remove(after, &path(at)).unwrap();
            assert_eq!(get(&removed, &path(at)).unwrap(), None, "{removed}");
            let value: serde_json::Value = serde_json::from_str(&removed).unwrap();
            let mut expected: serde_json::Value = serde_json::from_str(before).unwrap_or_default();
            // What was replaced is gone, too.
            let names = path(at);
            if let Some(object) = expected.as_object_mut() {
                object.retain(|name, inner| {
                    inner.as_object_mut().map(|inner| inner.remove(names.last().unwrap()));
                    !name.eq_ignore_ascii_case(&names[0])
                        || inner.as_object().is_some_and(|inner| !inner.is_empty())
                });
            } else {
                expected = serde_json::json!({});
            }
            assert_eq!(value, expected, "{at} in {after:?}");
        }
        for (at, before, after) in [
            ("s", "{\n\t\"s\": \"x\",\n\t\"a\": 1\n}", "{\n\t\"a\": 1\n}"),
            ("s", "{\"a\":1 , \"s\":2}", "{\"a\":1}"),
            ("h/r", "{\"a\":1,\"h\":{\"r\":1}}", "{\"a\":1}"),
            ("h/r", "{\"h\":{\"r\":1,\"q\":2}}", "{\"h\":{\"q\":2}}"),
            ("h/r", "{\"h\":{\"q\":2}}", "{\"h\":{\"q\":2}}"),
        ] {
            assert_eq!(remove(before, &path(at)).as_deref(), Ok(after), "{at} in {before:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_told_with_its_place() {
        for (text, told) in [
            ("{\n \"a\": 1,\n \"s\" 2\n}", "line 3 column 6"),
            ("{\"a\":1} x", "line 1 column 9"),
            ("{\n", "line 2 column 0"),
            ("[1]", "no JSON object"),
            ("\u{feff}{}", "line 1 column 1"),
            ("{\"s\":\"a\",\"S\":\"b\"}", "s is there twice"),
        ] {
            let error = set(text, &path("s"), "usher").unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
        let no_object = set("{\n \"h\":[]}", &path("h/r"), "usher").unwrap_err();
        assert_eq!(no_object, "h is no object, at line 2 column 6");
        assert_eq!(get("{\"s\":1}", &path("s")).unwrap_err(), "s is no string, at line 1 column 6");
        let no_string = check_strings("{\"a\":1,\n \"h\":{\"x\":\"y\", \"r\":null}}", "h").unwrap_err();
        assert_eq!(no_string, "h.r is no string, at line 2 column 20");
        for fine in ["{}", "{\"h\":null}", "{\"h\":{}}", "{\"H\":{\"x\":\"y\"}}"] {
            assert_eq!(check_strings(fine, "h"), Ok(()), "{fine}");
        }
    }
}
