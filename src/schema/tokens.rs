//! The tokens of a text of the local schema, where a whole grammar is not needed.

use sqlite3_parser::dialect::TokenType;
use sqlite3_parser::lexer::Scanner;
use sqlite3_parser::lexer::sql::Tokenizer;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A token, and where it lies.
pub(super) type Token = (TokenType, Range<usize>);

/// The tokens of a text, comments left out.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let read = catch_unwind(AssertUnwindSafe(|| {
        let mut scanner = Scanner::new(Tokenizer::new());
        let mut tokens = Vec::new();
        loop {
            match scanner.scan(text.as_bytes()) {
                Ok((start, Some((_, kind)), end)) => tokens.push((kind, start..end)),
                Ok((_, None, _)) => return Ok(tokens),
                Err(e) => return Err(format!("its text can't be read: {e}")),
            }
        }
    }));
    read.unwrap_or_else(|_| Err("its text can't be read".into()))
}

/// Does the text of a table say ON CONFLICT, so that a statement which meets a constraint may not simply fail?
pub fn has_conflict_clause(text: &str) -> bool {
    tokens(text).map_or(true, |tokens| tokens.iter().any(|t| t.0 == TokenType::TK_CONFLICT))
}

/// Does the text of a table say ON CONFLICT FAIL or ROLLBACK?
pub fn has_breaking_conflict_clause(text: &str) -> bool {
    let breaks = |kind: TokenType| matches!(kind, TokenType::TK_FAIL | TokenType::TK_ROLLBACK);
    let is_one = |pair: &[Token]| pair[0].0 == TokenType::TK_CONFLICT && breaks(pair[1].0);
    tokens(text).map_or(true, |tokens| tokens.windows(2).any(is_one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflict_clauses_are_told_from_names_and_comments() {
        assert!(has_breaking_conflict_clause("CREATE TABLE x(a UNIQUE ON /**/ CONFLICT rollback)"));
        let harmless = "CREATE TABLE x(a UNIQUE ON CONFLICT REPLACE, fail, rollback)";
        assert!(!has_breaking_conflict_clause(harmless) && has_conflict_clause(harmless));
        assert!(!has_conflict_clause(
            "CREATE TABLE x(a UNIQUE, \"on conflict\" DEFAULT 'conflict' /* ON CONFLICT FAIL */)"
        ));
        assert!(has_conflict_clause("CREATE TABLE x(a DEFAULT '"));
    }
}
