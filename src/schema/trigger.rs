//! A trigger of the user's, read from the local schema: what it fires at, what it writes, and its text as that of a TEMP
//! trigger.
//!
//! The statements of a trigger are INSERT, UPDATE, DELETE and SELECT, and name the tables that they write: the grammar tells
//! them. The copy is made of the fields of its head, names quoted, and of two pieces of the text as it stands: the
//! expression behind WHEN, and what is between BEGIN and END. Where those lie the tokens tell, so that a comment, a
//! string or a column called `begin` misleads nobody.
//!
//! Only the text of this very file comes here, never a peer's.

use sqlite3_parser::ast::{ResolveType, Stmt, TriggerCmd, TriggerEvent, TriggerTime, UpsertDo};
use sqlite3_parser::dialect::TokenType;
use std::collections::BTreeSet;
use std::ops::Range;

use super::parse::{unquote, with_statement};
use super::tokens::{Token, tokens};
use crate::quote::Quoted;

/// What a trigger fires at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
}

/// One trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// The table or view that it is on.
    pub table: String,
    /// What it fires at.
    pub event: Event,
    /// Does it stand in for writes of a view?
    pub is_instead: bool,
    /// What its statements write: tables as they are named, each with what befalls its rows.
    pub writes: BTreeSet<(String, Event)>,
    /// It may skip the row that it fires at: RAISE(IGNORE).
    pub may_ignore: bool,
    /// It may end a statement and leave half of it, or the whole transaction: FAIL and ROLLBACK.
    pub may_break: bool,
    /// What it calls, in lower case: functions, and whatever else stands before a parenthesis.
    pub calls: BTreeSet<String>,
    /// Every word of it that may be a name, in lower case.
    pub words: BTreeSet<String>,
    head: String,
    when: Option<String>,
    body: String,
}

impl Trigger {
    /// Reads `text`, as `sqlite_schema` keeps it, of the trigger `name` on `table`.
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn read(name: &str, table: &str, text: &str) -> Result<Self, String> {
        let tokens = tokens(text)?;
        let (when, body) = pieces(&tokens).ok_or("its text can't be read")?;
        let mut trigger = with_statement(text, |statement| Self::from_statement(name, table, statement))?;
        trigger.when = when.map(|range| text[range].to_owned());
        trigger.body = text[body].to_owned();
        for (at, (kind, range)) in tokens.iter().enumerate() {
            let next = |n: usize| tokens.get(at + n).map(|t| t.0);
            if matches!(kind, TokenType::TK_RAISE) && is(next(1), TokenType::TK_LP) {
                trigger.may_ignore |= is(next(2), TokenType::TK_IGNORE);
                trigger.may_break |= is(next(2), TokenType::TK_FAIL) || is(next(2), TokenType::TK_ROLLBACK);
            }
            let word = unquote(&text[range.clone()]).0.to_lowercase();
            if is(next(1), TokenType::TK_LP) {
                trigger.calls.insert(word.clone());
            }
            trigger.words.insert(word);
        }
        Ok(trigger)
    }

    fn from_statement(name: &str, table: &str, statement: &Stmt<'_>) -> Result<Self, String> {
        let Stmt::CreateTrigger { time, event, tbl_name, commands, .. } = statement else {
            return Err("its text is no CREATE TRIGGER".into());
        };
        if !unquote(tbl_name.name.0).0.eq_ignore_ascii_case(table) {
            return Err("its text is about another table".into());
        }
        let (word, is_instead) = match time {
            Some(TriggerTime::InsteadOf) => ("INSTEAD OF", true),
            Some(TriggerTime::After) => ("AFTER", false),
            Some(TriggerTime::Before) | None => ("BEFORE", false),
        };
        let (event, of) = match event {
            TriggerEvent::Insert => (Event::Insert, String::new()),
            TriggerEvent::Delete => (Event::Delete, String::new()),
            TriggerEvent::Update => (Event::Update, String::new()),
            TriggerEvent::UpdateOf(columns) => {
                let columns: Vec<_> = columns.iter().map(|c| Quoted(&unquote(c.0).0).to_string()).collect();
                (Event::Update, format!(" OF {}", columns.join(", ")))
            }
        };
        let mut trigger = Self {
            name: name.to_owned(),
            table: table.to_owned(),
            event,
            is_instead,
            writes: BTreeSet::new(),
            may_ignore: false,
            may_break: false,
            calls: BTreeSet::new(),
            words: BTreeSet::new(),
            head: format!("{word} {}{of} ON main.{}", event.sql(), Quoted(table)),
            when: None,
            body: String::new(),
        };
        commands.iter().for_each(|command| trigger.note(command));
        Ok(trigger)
    }

    fn note(&mut self, command: &TriggerCmd<'_>) {
        let (table, event, or) = match command {
            TriggerCmd::Insert { tbl_name, or_conflict, .. } => (tbl_name, Event::Insert, or_conflict),
            TriggerCmd::Update { tbl_name, or_conflict, .. } => (tbl_name, Event::Update, or_conflict),
            TriggerCmd::Delete { tbl_name, .. } => (tbl_name, Event::Delete, &None),
            TriggerCmd::Select(_) => return,
        };
        let table = unquote(table.name.0).0;
        if let TriggerCmd::Insert { upsert, .. } = command {
            let mut next = *upsert;
            while let Some(upsert) = next {
                if matches!(upsert.do_clause, UpsertDo::Set { .. }) {
                    self.writes.insert((table.clone(), Event::Update));
                }
                next = upsert.next;
            }
        }
        self.may_break |= matches!(or, Some(ResolveType::Fail | ResolveType::Rollback));
        self.writes.insert((table, event));
    }

    /// Its text as a TEMP trigger called `name`, that runs only while `condition` holds as well.
    pub fn temporary(&self, name: &str, condition: &str) -> String {
        let Self { head, when, body, .. } = self;
        let when = when.as_ref().map(|when| format!(" AND ({when})")).unwrap_or_default();
        format!("CREATE TEMP TRIGGER {} {head} FOR EACH ROW WHEN ({condition}){when} {body}", Quoted(name))
    }
}

impl Event {
    fn sql(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

fn is(kind: Option<TokenType>, wanted: TokenType) -> bool {
    kind == Some(wanted)
}

/// Where the expression behind WHEN lies, and what BEGIN begins.
fn pieces(tokens: &[Token]) -> Option<(Option<Range<usize>>, Range<usize>)> {
    let is_at = |at: usize, wanted: TokenType| is(tokens.get(at).map(|t| t.0), wanted);
    // ON is reserved: the first is the one before the table's name.
    let mut at = tokens.iter().position(|t| t.0 == TokenType::TK_ON)? + 2;
    if is_at(at, TokenType::TK_DOT) {
        at += 2;
    }
    if is_at(at, TokenType::TK_FOR) {
        at += 3;
    }
    let end = tokens.iter().rfind(|t| t.0 == TokenType::TK_END)?.1.end;
    if is_at(at, TokenType::TK_BEGIN) {
        return Some((None, tokens[at].1.start..end));
    }
    if !is_at(at, TokenType::TK_WHEN) {
        return None;
    }
    let from = tokens[at].1.end;
    let mut depth = 0;
    for (next, (kind, range)) in tokens.iter().enumerate().skip(at + 1) {
        match kind {
            TokenType::TK_LP => depth += 1,
            TokenType::TK_RP => depth -= 1,
            // Behind a point it is a column.
            TokenType::TK_BEGIN if depth == 0 && !is_at(next - 1, TokenType::TK_DOT) => {
                return Some((Some(from..range.start), range.start..end));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(text: &str) -> String {
        Trigger::read("t", "note", text).unwrap().temporary("c", "1")
    }

    #[test]
    fn the_copy_has_the_same_head_condition_and_body() {
        let text = "CREATE TRIGGER t AFTER UPDATE OF a, \"b c\" ON main.[note] FOR EACH ROW WHEN NEW.a > 1 OR OLD.begin = 'BEGIN' -- begin\n\
                    BEGIN /* end */ INSERT INTO x VALUES(NEW.a); END";
        let wanted = "CREATE TEMP TRIGGER \"c\" AFTER UPDATE OF \"a\", \"b c\" ON main.\"note\" FOR EACH ROW WHEN (1) AND ( NEW.a > 1 \
                      OR OLD.begin = 'BEGIN' -- begin\n) BEGIN /* end */ INSERT INTO x VALUES(NEW.a); END";
        assert_eq!(copy(text), wanted);
        let text = "create trigger if not exists main.t insert on note begin delete from x; end";
        let wanted =
            "CREATE TEMP TRIGGER \"c\" BEFORE INSERT ON main.\"note\" FOR EACH ROW WHEN (1) begin delete from x; end";
        assert_eq!(copy(text), wanted);
        let nested = "CREATE TRIGGER t AFTER DELETE ON note WHEN EXISTS(SELECT begin FROM x) BEGIN SELECT CASE WHEN 1 THEN 2 END; END";
        assert!(copy(nested).ends_with("AND ( EXISTS(SELECT begin FROM x) ) BEGIN SELECT CASE WHEN 1 THEN 2 END; END"));
    }

    #[test]
    fn what_it_writes_is_told() {
        let text = "CREATE TRIGGER t AFTER INSERT ON note BEGIN
                INSERT INTO \"a\" SELECT x FROM y; INSERT OR REPLACE INTO b VALUES(1) ON CONFLICT DO UPDATE SET c = 1;
                UPDATE 'd' SET e = 1 FROM f; DELETE FROM g; SELECT h(1); END";
        let trigger = Trigger::read("t", "note", text).unwrap();
        let writes: Vec<_> = trigger.writes.iter().map(|(t, e)| (t.as_str(), *e)).collect();
        let wanted = [
            ("a", Event::Insert),
            ("b", Event::Insert),
            ("b", Event::Update),
            ("d", Event::Update),
            ("g", Event::Delete),
        ];
        assert_eq!(writes, wanted);
        assert!(trigger.calls.contains("h") && trigger.words.contains("f"));
    }

    #[test]
    fn what_may_skip_a_row_or_break_a_transaction_is_told() {
        let hazards = |command: &str| {
            let text = format!("CREATE TRIGGER t AFTER INSERT ON note BEGIN {command}; END");
            let trigger = Trigger::read("t", "note", &text).unwrap();
            (trigger.may_ignore, trigger.may_break)
        };
        assert_eq!(hazards("SELECT RAISE(IGNORE)"), (true, false));
        assert_eq!(hazards("SELECT raise ( FAIL, 'no')"), (false, true));
        assert_eq!(hazards("SELECT CASE WHEN 1 THEN RAISE(ROLLBACK, 'no') END"), (false, true));
        assert_eq!(hazards("INSERT OR FAIL INTO x VALUES(1)"), (false, true));
        assert_eq!(hazards("UPDATE OR ROLLBACK x SET a = 1"), (false, true));
        assert_eq!(hazards("SELECT RAISE(ABORT, 'RAISE(FAIL)'); UPDATE OR IGNORE x SET a = 1"), (false, false));
    }

    #[test]
    fn a_text_that_is_none_is_refused() {
        for text in [
            "CREATE TRIGGER t AFTER INSERT ON other BEGIN SELECT 1; END",
            "CREATE TABLE note(a)",
            "CREATE TRIGGER t AFTER INSERT ON note",
            "CREATE TRIGGER t AFTER INSERT ON note BEGIN END",
            "",
            "'",
        ] {
            assert!(Trigger::read("t", "note", text).is_err(), "{text}");
        }
    }
}
