//! The white list: what an expression of a definition may be made of.
//!
//! Numbers of operators are part of the format: new ones go to the end. A peer of an older version meets a name or
//! number that it does not know, and parks the table with that reason.

use super::expr::Place;

/// Binds like a literal.
pub const WHOLE: u8 = 13;
/// COLLATE.
pub const COLLATED: u8 = 11;
/// What may stand beside a comparison without brackets.
pub const COMPARED: u8 = 7;
/// `=` and the comparisons that are words.
pub const EQUAL: u8 = 4;

/// Operators with one operand: text, how strongly it binds, does it stand behind?
pub const UNARY: [(&str, u8, bool); 6] = [
    ("-", 12, false),
    ("+", 12, false),
    ("~", 12, false),
    ("NOT", 3, false),
    ("ISNULL", EQUAL, true),
    ("NOTNULL", EQUAL, true),
];

/// Operators with two operands: text, how strongly it binds. See <https://sqlite.org/lang_expr.html>.
pub const BINARY: [(&str, u8); 22] = [
    ("OR", 1),
    ("AND", 2),
    ("=", EQUAL),
    ("<>", EQUAL),
    ("IS", EQUAL),
    ("IS NOT", EQUAL),
    ("<", 5),
    ("<=", 5),
    (">", 5),
    (">=", 5),
    ("&", 7),
    ("|", 7),
    ("<<", 7),
    (">>", 7),
    ("+", 8),
    ("-", 8),
    ("*", 9),
    ("/", 9),
    ("%", 9),
    ("||", 10),
    ("->", 10),
    ("->>", 10),
];

/// The current time, in DEFAULTs.
pub const NOW: [&str; 3] = ["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"];

/// Deterministic built-in functions that every SQLite has, with the least and greatest number of arguments. Those of
/// time are here because SQLite itself refuses them 'now' outside a DEFAULT.
const FUNCTIONS: [(&str, usize, usize); 45] = [
    ("abs", 1, 1),
    ("char", 0, 100),
    ("coalesce", 2, 100),
    ("date", 0, 100),
    ("datetime", 0, 100),
    ("format", 1, 100),
    ("glob", 2, 2),
    ("hex", 1, 1),
    ("ifnull", 2, 2),
    ("iif", 2, 3),
    ("instr", 2, 2),
    ("json", 1, 1),
    ("json_array", 0, 100),
    ("json_array_length", 1, 2),
    ("json_extract", 2, 100),
    ("json_object", 0, 100),
    ("json_quote", 1, 1),
    ("json_type", 1, 2),
    ("json_valid", 1, 2),
    ("julianday", 0, 100),
    ("length", 1, 1),
    ("like", 2, 3),
    ("lower", 1, 1),
    ("ltrim", 1, 2),
    ("max", 2, 100),
    ("min", 2, 100),
    ("nullif", 2, 2),
    ("octet_length", 1, 1),
    ("printf", 1, 100),
    ("quote", 1, 1),
    ("replace", 3, 3),
    ("round", 1, 2),
    ("rtrim", 1, 2),
    ("sign", 1, 1),
    ("strftime", 1, 100),
    ("substr", 2, 3),
    ("substring", 2, 3),
    ("time", 0, 100),
    ("trim", 1, 2),
    ("typeof", 1, 1),
    ("unhex", 1, 2),
    ("unicode", 1, 1),
    ("unixepoch", 0, 100),
    ("upper", 1, 1),
    ("zeroblob", 1, 1),
];

/// Functions of chance: in DEFAULTs only.
const CHANCE: [(&str, usize, usize); 2] = [("random", 0, 0), ("randomblob", 1, 1)];

/// May this function stand here with so many arguments? The name is in lower case.
pub fn is_function(name: &str, arguments: usize, place: Place) -> bool {
    let chance = if place == Place::Default { &CHANCE[..] } else { &[] };
    FUNCTIONS.iter().chain(chance).any(|(f, min, max)| *f == name && (*min..=*max).contains(&arguments))
}

/// Is this a number as SQL writes one, without a sign?
pub fn is_number(text: &str) -> bool {
    if text.len() > 64 {
        return false;
    }
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return (1..=16).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let is_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
    is_digits(whole)
        && is_digits(part)
        && whole.len() + part.len() > 0
        && exponent.is_none_or(|e| !e.is_empty() && is_digits(e))
}

/// Words that end a type in a column's definition: none of them can be part of one.
const NOT_IN_A_TYPE: [&str; 21] = [
    "as",
    "autoincrement",
    "check",
    "collate",
    "constraint",
    "create",
    "default",
    "deferrable",
    "foreign",
    "from",
    "group",
    "not",
    "null",
    "on",
    "primary",
    "references",
    "select",
    "table",
    "unique",
    "where",
    "generated",
];

/// Is this a type as SQLite reports it: words, then perhaps one or two numbers in brackets? Empty is none at all.
pub fn is_type(text: &str) -> bool {
    let (words, sizes) = match text.split_once('(') {
        Some((words, rest)) => (words, rest.strip_suffix(')')),
        None => (text, Some("")),
    };
    let Some(sizes) = sizes else { return false };
    let is_size = |s: &str| {
        let s = s.trim();
        is_number(s.strip_prefix(['+', '-']).unwrap_or(s).trim_start())
    };
    let is_word = |w: &str| {
        let mut letters = w.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !NOT_IN_A_TYPE.iter().any(|n| n.eq_ignore_ascii_case(w))
    };
    let mut all = words.split_ascii_whitespace().peekable();
    let has_words = all.peek().is_some();
    text.len() <= 256
        && all.all(is_word)
        && (has_words || text.is_empty())
        && (!text.contains('(') || (sizes.split(',').count() <= 2 && sizes.split(',').all(is_size)))
}
