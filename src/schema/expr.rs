//! Expressions of a definition: DEFAULT, CHECK, generated columns, index terms and partial indexes.
//!
//! An expression travels as steps in postfix order, never as text: what is not one of these steps can't be said, so
//! nothing that a peer sends becomes SQL but through [`Tree::sql`]. Reading, checking and writing are loops over a
//! stack; no input makes them recurse.
//!
//! What is outside the list stays an [`Expr::Unlisted`]: its text serves at home, its reason travels.

use p2pdb_core::codec::{Malformed, Reader, Write};
use p2pdb_core::limit;
use std::collections::BTreeSet;

use super::list;
use crate::quote::Quoted;

/// An expression, or why it can't be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Made of listed constructs only.
    Listed(Tree),
    /// Not so.
    Unlisted {
        /// Its SQL text in the local schema. It does not travel: empty in a definition that was read from bytes.
        text: String,
        /// What of it is not on the list.
        reason: String,
    },
}

/// Where an expression stands decides what it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A DEFAULT: no columns, but the time and chance; its value is drawn once and travels.
    Default,
    /// Everywhere else: the row's columns, and deterministic functions only.
    Row,
}

/// Steps in postfix order that leave exactly one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(Vec<Step>);

/// One step: takes values from a stack, leaves one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// NULL.
    Null,
    /// TRUE or FALSE.
    Truth(bool),
    /// A number as it was written: digits, at most one point and exponent, or 0x and hexadecimal digits.
    Number(String),
    /// A string.
    Text(String),
    /// A blob.
    Blob(Vec<u8>),
    /// CURRENT_DATE, CURRENT_TIME, CURRENT_TIMESTAMP, by number.
    Now(u8),
    /// A column of the table, by number.
    Column(usize),
    /// One operand: an index into [`list::UNARY`].
    Unary(usize),
    /// Two operands: an index into [`list::BINARY`].
    Binary(usize),
    /// LIKE or GLOB: two operands, three with ESCAPE.
    Like {
        /// GLOB?
        is_glob: bool,
        /// NOT?
        is_not: bool,
        /// ESCAPE?
        has_escape: bool,
    },
    /// Three operands; NOT?
    Between(bool),
    /// One operand and so many items; NOT?
    In(bool, usize),
    /// CASE: a base, pairs of WHEN and THEN, an ELSE.
    Case {
        /// Is there an operand before the first WHEN?
        has_base: bool,
        /// How many WHEN … THEN ….
        pairs: usize,
        /// Is there an ELSE?
        has_else: bool,
    },
    /// CAST to a type.
    Cast(String),
    /// COLLATE a collation.
    Collate(String),
    /// A listed function, in lower case, and the number of its arguments.
    Call(String, usize),
}

impl Step {
    /// How many values it takes.
    fn takes(&self) -> usize {
        match self {
            Self::Null
            | Self::Truth(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::Blob(_)
            | Self::Now(_)
            | Self::Column(_) => 0,
            Self::Unary(_) | Self::Cast(_) | Self::Collate(_) => 1,
            Self::Binary(_) => 2,
            Self::Like { has_escape, .. } => 2 + usize::from(*has_escape),
            Self::Between(_) => 3,
            Self::In(_, items) => 1 + items,
            Self::Case { has_base, pairs, has_else } => usize::from(*has_base) + 2 * pairs + usize::from(*has_else),
            Self::Call(_, arguments) => *arguments,
        }
    }

    fn check(&self, columns: usize, place: Place) -> Result<(), Malformed> {
        let rule = |is_kept: bool, what: &'static str| if is_kept { Ok(()) } else { Err(Malformed::Rule(what)) };
        match self {
            Self::Number(n) => rule(list::is_number(n), "a number in an expression is none"),
            Self::Now(n) => rule(
                place == Place::Default && usize::from(*n) < list::NOW.len(),
                "the current time stands outside a DEFAULT",
            ),
            Self::Column(c) => {
                rule(place == Place::Row && c < &columns, "an expression names a column that is not there")
            }
            Self::Unary(n) => rule(*n < list::UNARY.len(), "an unknown operator"),
            Self::Binary(n) => rule(*n < list::BINARY.len(), "an unknown operator"),
            Self::Case { pairs, .. } => rule(*pairs > 0, "a CASE without WHEN"),
            Self::Cast(to) => rule(list::is_type(to), "a CAST to something that is no type"),
            Self::Collate(name) => rule(!name.is_empty(), "a collation without a name"),
            Self::Call(name, n) => rule(list::is_function(name, *n, place), "a function that is not on the list"),
            Self::Null
            | Self::Truth(_)
            | Self::Text(_)
            | Self::Blob(_)
            | Self::Like { .. }
            | Self::Between(_)
            | Self::In(..) => Ok(()),
        }
    }
}

impl Tree {
    /// Steps that are checked: each on the list, all within bounds, leaving one value.
    ///
    /// # Errors
    /// [`Malformed`] where they are not.
    pub fn new(steps: Vec<Step>, columns: usize, place: Place) -> Result<Self, Malformed> {
        if steps.len() > limit::EXPRESSION_STEPS_MAX {
            let (got, max) = (steps.len() as u64, limit::EXPRESSION_STEPS_MAX as u64);
            return Err(Malformed::OverLimit { what: "expression steps", got, max });
        }
        let mut depths: Vec<usize> = Vec::new();
        for step in &steps {
            step.check(columns, place)?;
            let from =
                depths.len().checked_sub(step.takes()).ok_or(Malformed::Rule("an expression lacks an operand"))?;
            let depth = depths.drain(from..).max().unwrap_or_default() + 1;
            if depth > limit::EXPRESSION_DEPTH_MAX {
                let (got, max) = (depth as u64, limit::EXPRESSION_DEPTH_MAX as u64);
                return Err(Malformed::OverLimit { what: "expression depth", got, max });
            }
            depths.push(depth);
        }
        if depths.len() != 1 {
            return Err(Malformed::Rule("an expression leaves more than one value"));
        }
        Ok(Self(steps))
    }

    /// The columns that it names.
    pub fn columns(&self) -> BTreeSet<usize> {
        self.0.iter().filter_map(|s| if let Step::Column(c) = s { Some(*c) } else { None }).collect()
    }

    /// SQL text, with the names of the table's columns; no more brackets than it needs, as SQLite bounds those.
    pub fn sql(&self, columns: &[&str]) -> String {
        let mut stack: Vec<Piece> = Vec::new();
        for step in &self.0 {
            let from = stack.len().saturating_sub(step.takes());
            let operands = stack.split_off(from);
            stack.push(piece(step, &operands, columns));
        }
        stack.pop().map(|p| p.text).unwrap_or_default()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.uvarint(self.0.len() as u64);
        self.0.iter().for_each(|step| write_step(step, out));
    }

    fn read(r: &mut Reader<'_>, columns: usize, place: Place) -> Result<Self, Malformed> {
        let n = r.count("expression steps", limit::EXPRESSION_STEPS_MAX)?;
        let mut steps = Vec::new();
        for _ in 0..n {
            steps.push(read_step(r)?);
        }
        Self::new(steps, columns, place)
    }
}

/// Text of a part, and how strongly its outermost operator binds.
struct Piece {
    text: String,
    binds: u8,
}

impl Piece {
    /// In brackets, unless it binds at least so strongly.
    fn at(&self, binds: u8) -> String {
        if self.binds >= binds { self.text.clone() } else { format!("({})", self.text) }
    }
}

fn piece(step: &Step, operands: &[Piece], columns: &[&str]) -> Piece {
    let whole = |text: String| Piece { text, binds: list::WHOLE };
    let not = |is: bool| if is { "NOT " } else { "" };
    let commas = |pieces: &[Piece]| pieces.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join(", ");
    // Operands of comparisons that are words: anything that binds more loosely than arithmetic goes in brackets.
    let tight = |i: usize| operands[i].at(list::COMPARED);
    match step {
        Step::Null => whole("NULL".into()),
        Step::Truth(is) => whole(if *is { "TRUE" } else { "FALSE" }.into()),
        Step::Number(n) => whole(n.clone()),
        Step::Text(t) => whole(format!("'{}'", t.replace('\'', "''"))),
        Step::Blob(b) => whole(format!("x'{}'", b.iter().map(|b| format!("{b:02x}")).collect::<String>())),
        Step::Now(n) => whole(list::NOW[usize::from(*n)].into()),
        Step::Column(c) => whole(Quoted(columns[*c]).to_string()),
        Step::Unary(n) => {
            let (word, binds, is_behind) = list::UNARY[*n];
            let text = if is_behind {
                format!("{} {word}", tight(0))
            } else {
                format!("{word} {}", operands[0].at(list::WHOLE))
            };
            Piece { text, binds }
        }
        Step::Binary(n) => {
            let (word, binds) = list::BINARY[*n];
            Piece { text: format!("{} {word} {}", operands[0].at(binds), operands[1].at(binds + 1)), binds }
        }
        Step::Like { is_glob, is_not, has_escape } => {
            let word = if *is_glob { "GLOB" } else { "LIKE" };
            let escape = if *has_escape { format!(" ESCAPE {}", operands[2].at(list::WHOLE)) } else { String::new() };
            Piece { text: format!("{} {}{word} {}{escape}", tight(0), not(*is_not), tight(1)), binds: list::EQUAL }
        }
        Step::Between(is_not) => Piece {
            text: format!("{} {}BETWEEN {} AND {}", tight(0), not(*is_not), tight(1), tight(2)),
            binds: list::EQUAL,
        },
        Step::In(is_not, _) => {
            Piece { text: format!("{} {}IN ({})", tight(0), not(*is_not), commas(&operands[1..])), binds: list::EQUAL }
        }
        Step::Case { has_base, pairs, has_else } => whole(case(operands, *has_base, *pairs, *has_else)),
        Step::Cast(to) => whole(format!("CAST({} AS {to})", operands[0].text)),
        Step::Collate(name) => {
            Piece { text: format!("{} COLLATE {}", operands[0].at(list::WHOLE), Quoted(name)), binds: list::COLLATED }
        }
        Step::Call(name, _) => whole(format!("{name}({})", commas(operands))),
    }
}

fn case(operands: &[Piece], has_base: bool, pairs: usize, has_else: bool) -> String {
    let mut rest = operands.iter().map(|p| p.text.as_str());
    let mut next = || rest.next().unwrap_or_default().to_string();
    let mut text = String::from("CASE");
    if has_base {
        text += &format!(" {}", next());
    }
    for _ in 0..pairs {
        text += &format!(" WHEN {} THEN {}", next(), next());
    }
    if has_else {
        text += &format!(" ELSE {}", next());
    }
    text + " END"
}

impl Expr {
    /// Columns that it names; none is known of one that is not listed.
    pub fn columns(&self) -> Option<BTreeSet<usize>> {
        match self {
            Self::Listed(tree) => Some(tree.columns()),
            Self::Unlisted { .. } => None,
        }
    }

    /// Calls `f` on the number of each column that it names.
    pub(super) fn each_column(&mut self, f: &mut dyn FnMut(&mut usize)) {
        let Self::Listed(Tree(steps)) = self else { return };
        for step in steps {
            if let Step::Column(c) = step {
                f(c);
            }
        }
    }

    /// Its text for the local schema.
    pub fn sql(&self, columns: &[&str]) -> String {
        match self {
            Self::Listed(tree) => tree.sql(columns),
            Self::Unlisted { text, .. } => text.clone(),
        }
    }

    /// Is it one value, whenever it is asked?
    pub fn is_constant(&self) -> bool {
        let is_constant = |s: &Step| {
            matches!(s, Step::Null | Step::Truth(_) | Step::Number(_) | Step::Text(_) | Step::Blob(_) | Step::Unary(_))
        };
        matches!(self, Self::Listed(Tree(steps)) if steps.iter().all(is_constant))
    }

    /// What is not on the list.
    pub fn unlisted(&self) -> Option<&str> {
        match self {
            Self::Listed(_) => None,
            Self::Unlisted { reason, .. } => Some(reason),
        }
    }

    /// Tag byte, then the steps, or the reason why there are none.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Listed(tree) => {
                out.u8(1);
                tree.write(out);
            }
            Self::Unlisted { reason, .. } => {
                out.u8(0);
                out.bytes(reason.as_bytes());
            }
        }
    }

    /// # Errors
    /// [`Malformed`] if the bytes are no expression that may stand in `place`.
    pub fn read(r: &mut Reader<'_>, columns: usize, place: Place) -> Result<Self, Malformed> {
        match r.u8("expression")? {
            0 => Ok(Self::Unlisted {
                text: String::new(),
                reason: super::bytes::text(r, "reason", limit::IDENTIFIER_BYTES_MAX)?,
            }),
            1 => Ok(Self::Listed(Tree::read(r, columns, place)?)),
            got => Err(Malformed::Unknown { what: "expression", got: got.into() }),
        }
    }
}

fn write_step(step: &Step, out: &mut Vec<u8>) {
    let flags = |bits: &[bool]| bits.iter().enumerate().map(|(i, b)| u8::from(*b) << i).sum::<u8>();
    match step {
        Step::Null => out.u8(0),
        Step::Truth(is) => out.u8(1 + u8::from(*is)),
        Step::Number(n) => {
            out.u8(3);
            out.bytes(n.as_bytes());
        }
        Step::Text(t) => {
            out.u8(4);
            out.bytes(t.as_bytes());
        }
        Step::Blob(b) => {
            out.u8(5);
            out.bytes(b);
        }
        Step::Now(n) => out.raw(&[6, *n]),
        Step::Column(c) => {
            out.u8(7);
            out.uvarint(*c as u64);
        }
        Step::Unary(n) => out.raw(&[8, *n as u8]),
        Step::Binary(n) => out.raw(&[9, *n as u8]),
        Step::Like { is_glob, is_not, has_escape } => out.raw(&[10, flags(&[*is_glob, *is_not, *has_escape])]),
        Step::Between(is_not) => out.raw(&[11, u8::from(*is_not)]),
        Step::In(is_not, items) => {
            out.raw(&[12, u8::from(*is_not)]);
            out.uvarint(*items as u64);
        }
        Step::Case { has_base, pairs, has_else } => {
            out.raw(&[13, flags(&[*has_base, *has_else])]);
            out.uvarint(*pairs as u64);
        }
        Step::Cast(to) => {
            out.u8(14);
            out.bytes(to.as_bytes());
        }
        Step::Collate(name) => {
            out.u8(15);
            out.bytes(name.as_bytes());
        }
        Step::Call(name, n) => {
            out.u8(16);
            out.bytes(name.as_bytes());
            out.uvarint(*n as u64);
        }
    }
}

fn read_step(r: &mut Reader<'_>) -> Result<Step, Malformed> {
    use super::bytes::text;
    let name = |r: &mut Reader<'_>| text(r, "a name in an expression", limit::IDENTIFIER_BYTES_MAX);
    let long = |r: &mut Reader<'_>| text(r, "text in an expression", limit::DEFINITION_BYTES_MAX);
    Ok(match r.u8("expression step")? {
        0 => Step::Null,
        n @ (1 | 2) => Step::Truth(n == 2),
        3 => Step::Number(name(r)?),
        4 => Step::Text(long(r)?),
        5 => Step::Blob(r.bytes("blob in an expression", limit::DEFINITION_BYTES_MAX)?.to_vec()),
        6 => Step::Now(r.u8("current time")?),
        7 => Step::Column(r.count("column number", limit::COLUMNS_MAX)?),
        8 => Step::Unary(r.u8("operator")?.into()),
        9 => Step::Binary(r.u8("operator")?.into()),
        10 => {
            let flags = super::bytes::flags(r, 3)?;
            Step::Like { is_glob: flags & 1 != 0, is_not: flags & 2 != 0, has_escape: flags & 4 != 0 }
        }
        11 => Step::Between(super::bytes::flags(r, 1)? != 0),
        12 => Step::In(super::bytes::flags(r, 1)? != 0, r.count("items of IN", limit::EXPRESSION_STEPS_MAX)?),
        13 => {
            let flags = super::bytes::flags(r, 2)?;
            let pairs = r.count("branches of CASE", limit::EXPRESSION_STEPS_MAX)?;
            Step::Case { has_base: flags & 1 != 0, pairs, has_else: flags & 2 != 0 }
        }
        14 => Step::Cast(name(r)?),
        15 => Step::Collate(name(r)?),
        16 => Step::Call(name(r)?, r.count("arguments", limit::EXPRESSION_STEPS_MAX)?),
        got => return Err(Malformed::Unknown { what: "expression step", got: got.into() }),
    })
}
