//! CREATE TABLE and CREATE INDEX of the local schema, from text to fields.
//!
//! Only text that SQLite itself has taken comes here, never a peer's. The grammar is SQLite's own, by way of
//! `sqlite3-parser`; what it can't read is reported and the definition falls back on what the PRAGMAs tell.

use p2pdb_core::limit;
use sqlite3_parser::ast::{
    Cmd, ColumnConstraint, ColumnDefinition, CreateTableBody, DeferSubclause, Expr as Ast, ForeignKeyClause,
    InitDeferredPred, LikeOperator, Literal, NamedTableConstraint, Operator, RefAct, RefArg, ResolveType, SortOrder,
    SortedColumn, Stmt, TabFlags, TableConstraint, Type, TypeSize, UnaryOperator,
};
use sqlite3_parser::lexer::sql::Parser;
use sqlite3_parser::{Bump, FallibleIterator};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::list;
use super::{
    Action, Check, Definition, Expr, ForeignKey, Generated, Index, OnConflict, Part, Place, PrimaryKey, Step, Term,
    Tree,
};

/// Fills a definition from the text of CREATE TABLE. Its columns are there, with names and types.
///
/// # Errors
/// Why the text can't be read.
pub(super) fn table(sql: &str, definition: &mut Definition) -> Result<(), String> {
    with_statement(sql, |statement| {
        let Stmt::CreateTable { body: CreateTableBody::ColumnsAndConstraints { columns, constraints, flags }, .. } =
            statement
        else {
            return Err("its text is no CREATE TABLE".into());
        };
        let is_same = columns.len() == definition.columns.len()
            && columns.iter().zip(&definition.columns).all(|(a, b)| unquote(a.col_name.0).0 == b.name);
        if !is_same {
            return Err("its text has other columns than SQLite reports".into());
        }
        definition.without_rowid = flags.contains(TabFlags::WithoutRowid);
        definition.strict = flags.contains(TabFlags::Strict);
        // Collations first: keys and constraints that come before them compare by them.
        for (at, column) in columns.iter().enumerate() {
            read_column(definition, at, column);
        }
        for (at, column) in columns.iter().enumerate() {
            read_column_constraints(definition, at, column);
        }
        for constraint in constraints.iter().flat_map(|c| c.iter()) {
            read_table_constraint(definition, constraint)?;
        }
        Ok(())
    })
}

/// An index from the text of CREATE INDEX.
///
/// # Errors
/// Why the text can't be read.
pub(super) fn index(sql: &str, name: &str, definition: &Definition) -> Result<Index, String> {
    with_statement(sql, |statement| {
        let Stmt::CreateIndex { columns, where_clause, .. } = statement else {
            return Err("its text is no CREATE INDEX".into());
        };
        let filter = where_clause.as_ref().map(|e| convert(e, definition, Place::Row));
        let terms = columns.iter().map(|c| term(c, definition)).collect();
        Ok(Index { name: Some(name.into()), terms, filter, on_conflict: OnConflict::Abort })
    })
}

/// Parses one statement. A panic of the parser is one more text that it can't read.
pub(super) fn with_statement<T>(sql: &str, work: impl FnOnce(&Stmt<'_>) -> Result<T, String>) -> Result<T, String> {
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let bump = Bump::new();
        let mut parser = Parser::new(&bump, sql.as_bytes());
        match parser.next() {
            Ok(Some(Cmd::Stmt(statement))) => work(&statement),
            Ok(_) => Err("its text is no statement".into()),
            Err(e) => Err(format!("its text can't be read: {e}")),
        }
    }));
    parsed.unwrap_or_else(|_| Err("its text can't be read".into()))
}

fn read_column(definition: &mut Definition, at: usize, parsed: &ColumnDefinition<'_>) {
    for constraint in parsed.constraints {
        if let ColumnConstraint::Collate { collation_name } = &constraint.constraint {
            definition.columns[at].collation = fold_collation(&unquote(collation_name.0).0);
        }
    }
    if !list::is_type(&definition.columns[at].declared) {
        // A type with a comment or quotes in it: its words and numbers will do.
        definition.columns[at].declared = parsed.col_type.as_ref().and_then(declared).unwrap_or_default();
    }
}

/// A key as the text says it; whether it is the rowid only the indexes tell.
fn primary_key(terms: Vec<Term>, is_autoincrement: bool, on_conflict: OnConflict) -> PrimaryKey {
    PrimaryKey { terms, is_rowid: false, is_autoincrement, is_natural: false, on_conflict }
}

fn read_column_constraints(definition: &mut Definition, at: usize, parsed: &ColumnDefinition<'_>) {
    for named in parsed.constraints {
        match &named.constraint {
            ColumnConstraint::PrimaryKey { order, conflict_clause, auto_increment } => {
                let terms = vec![column_term(definition, at, matches!(order, Some(SortOrder::Desc)))];
                definition.key = Some(primary_key(terms, *auto_increment, conflict(*conflict_clause)));
            }
            ColumnConstraint::NotNull { nullable: false, conflict_clause } => {
                definition.columns[at].not_null = Some(conflict(*conflict_clause));
            }
            ColumnConstraint::Unique(conflict_clause) => {
                let terms = vec![column_term(definition, at, false)];
                definition.uniques.push(Index {
                    name: None,
                    terms,
                    filter: None,
                    on_conflict: conflict(*conflict_clause),
                });
            }
            ColumnConstraint::Check(expr) => {
                let expr = convert(expr, definition, Place::Row);
                definition.checks.push(Check { name: named.name.as_ref().map(|n| unquote(n.0).0), expr });
            }
            ColumnConstraint::Default(expr) => {
                definition.columns[at].default = Some(convert(expr, definition, Place::Default));
            }
            ColumnConstraint::ForeignKey { clause, defer_clause } => {
                let key = foreign_key(vec![at], clause, defer_clause.as_ref());
                definition.foreign_keys.push(key);
            }
            ColumnConstraint::Defer(clause) => {
                if let Some(key) = definition.foreign_keys.last_mut() {
                    key.is_deferred = is_deferred(Some(clause));
                }
            }
            ColumnConstraint::Generated { expr, typ } => {
                let is_stored = typ.as_ref().is_some_and(|t| t.0.eq_ignore_ascii_case("stored"));
                definition.columns[at].generated =
                    Some(Generated { expr: convert(expr, definition, Place::Row), is_stored });
            }
            ColumnConstraint::NotNull { nullable: true, .. } | ColumnConstraint::Collate { .. } => {}
        }
    }
}

fn read_table_constraint(definition: &mut Definition, named: &NamedTableConstraint<'_>) -> Result<(), String> {
    match &named.constraint {
        TableConstraint::PrimaryKey { columns, auto_increment, conflict_clause } => {
            let mut terms: Vec<Term> = Vec::new();
            for column in *columns {
                let term = term(column, definition);
                if !terms.iter().any(|t| t.part == term.part) {
                    terms.push(term);
                }
            }
            definition.key = Some(primary_key(terms, *auto_increment, conflict(*conflict_clause)));
        }
        TableConstraint::Unique { columns, conflict_clause } => {
            let terms = columns.iter().map(|c| term(c, definition)).collect();
            definition.uniques.push(Index { name: None, terms, filter: None, on_conflict: conflict(*conflict_clause) });
        }
        TableConstraint::Check(expr, _) => {
            let expr = convert(expr, definition, Place::Row);
            definition.checks.push(Check { name: named.name.as_ref().map(|n| unquote(n.0).0), expr });
        }
        TableConstraint::ForeignKey { columns, clause, defer_clause } => {
            let place = |name: &str| definition.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name));
            let numbers: Option<Vec<usize>> = columns.iter().map(|c| place(&unquote(c.col_name.0).0)).collect();
            let numbers = numbers.ok_or("a foreign key names a column that is not there")?;
            definition.foreign_keys.push(foreign_key(numbers, clause, defer_clause.as_ref()));
        }
    }
    Ok(())
}

fn column_term(definition: &Definition, at: usize, is_descending: bool) -> Term {
    Term { part: Part::Column(at), collation: definition.columns[at].collation.clone(), is_descending }
}

/// A term of a key or index: a column, perhaps under a collation of its own, or an expression.
fn term(parsed: &SortedColumn<'_>, definition: &Definition) -> Term {
    let is_descending = matches!(parsed.order, Some(SortOrder::Desc));
    let (inner, collation) = match &parsed.expr {
        Ast::Collate(inner, name) => (*inner, Some(fold_collation(&unquote(name).0))),
        whole => (whole, None),
    };
    let name = match inner {
        Ast::Id(id) => Some(unquote(id.0).0),
        Ast::Name(name) => Some(unquote(name.0).0),
        // UNIQUE('a') and PRIMARY KEY('a') name a column.
        Ast::Literal(Literal::String(text)) => Some(unquote(text).0),
        _ => None,
    };
    let at = name.and_then(|n| definition.columns.iter().position(|c| c.name.eq_ignore_ascii_case(&n)));
    match at {
        Some(at) => {
            let mut term = column_term(definition, at, is_descending);
            term.collation = collation.unwrap_or(term.collation);
            term
        }
        None => {
            let expr = convert(inner, definition, Place::Row);
            // Where none is given an expression compares by what its columns say; PRAGMA index_xinfo will tell.
            Term { part: Part::Expr(expr), collation: collation.unwrap_or_else(|| "BINARY".into()), is_descending }
        }
    }
}

fn foreign_key(columns: Vec<usize>, clause: &ForeignKeyClause<'_>, defer: Option<&DeferSubclause>) -> ForeignKey {
    let parent_columns = clause.columns.unwrap_or_default().iter().map(|c| unquote(c.col_name.0).0).collect();
    let mut key = ForeignKey {
        columns,
        parent: unquote(clause.tbl_name.0).0,
        parent_columns,
        on_delete: Action::NoAction,
        on_update: Action::NoAction,
        is_deferred: is_deferred(defer),
    };
    for arg in clause.args {
        match arg {
            RefArg::OnDelete(act) => key.on_delete = action(*act),
            RefArg::OnUpdate(act) => key.on_update = action(*act),
            RefArg::OnInsert(_) | RefArg::Match(_) => {}
        }
    }
    key
}

fn is_deferred(clause: Option<&DeferSubclause>) -> bool {
    clause.is_some_and(|c| c.deferrable && c.init_deferred == Some(InitDeferredPred::InitiallyDeferred))
}

fn action(act: RefAct) -> Action {
    match act {
        RefAct::SetNull => Action::SetNull,
        RefAct::SetDefault => Action::SetDefault,
        RefAct::Cascade => Action::Cascade,
        RefAct::Restrict => Action::Restrict,
        RefAct::NoAction => Action::NoAction,
    }
}

fn conflict(clause: Option<ResolveType>) -> OnConflict {
    match clause {
        None | Some(ResolveType::Abort) => OnConflict::Abort,
        Some(ResolveType::Rollback) => OnConflict::Rollback,
        Some(ResolveType::Fail) => OnConflict::Fail,
        Some(ResolveType::Ignore) => OnConflict::Ignore,
        Some(ResolveType::Replace) => OnConflict::Replace,
    }
}

/// The built-in collations in one spelling.
fn fold_collation(name: &str) -> String {
    let built_in = ["BINARY", "NOCASE", "RTRIM"];
    built_in.iter().find(|b| b.eq_ignore_ascii_case(name)).map_or_else(|| name.into(), |b| (*b).into())
}

/// A type's words and numbers.
fn declared(parsed: &Type<'_>) -> Option<String> {
    let size = |e: &Ast<'_>| match e {
        Ast::Literal(Literal::Numeric(n)) => Some((*n).to_string()),
        Ast::Unary(UnaryOperator::Negative, Ast::Literal(Literal::Numeric(n))) => Some(format!("-{n}")),
        Ast::Unary(UnaryOperator::Positive, Ast::Literal(Literal::Numeric(n))) => Some(format!("+{n}")),
        _ => None,
    };
    let words: Vec<String> = parsed.name.split(' ').map(|w| unquote(w).0).collect();
    let sizes = match &parsed.size {
        None => String::new(),
        Some(TypeSize::MaxSize(n)) => format!("({})", size(n)?),
        Some(TypeSize::TypeSize(n, m)) => format!("({},{})", size(n)?, size(m)?),
    };
    Some(words.join(" ") + &sizes).filter(|t| list::is_type(t))
}

/// A name or string without its quotes, and which they were.
pub(super) fn unquote(raw: &str) -> (String, Option<char>) {
    let Some(open) = raw.chars().next().filter(|c| matches!(c, '"' | '\'' | '`' | '[')) else {
        return (raw.into(), None);
    };
    let close = if open == '[' { ']' } else { open };
    let inner = raw[1..].strip_suffix(close).unwrap_or(&raw[1..]);
    let text =
        if open == '[' { inner.to_string() } else { inner.replace(&format!("{close}{close}"), &close.to_string()) };
    (text, Some(open))
}

/// An expression as far as it is on the list.
fn convert(parsed: &Ast<'_>, definition: &Definition, place: Place) -> Expr {
    let mut steps = Vec::new();
    let reason = match push(parsed, definition, place, 0, &mut steps) {
        Ok(()) => match Tree::new(steps, definition.columns.len(), place) {
            Ok(tree) => return Expr::Listed(tree),
            Err(e) => e.to_string(),
        },
        Err(reason) => reason,
    };
    let (text, max) = (parsed.to_string(), limit::IDENTIFIER_BYTES_MAX / 4);
    let shown: String = text.chars().take(max / 4).collect();
    let reason: String = format!("{reason} in ({shown})").chars().take(max).collect();
    Expr::Unlisted { text, reason }
}

/// Appends the steps of an expression, or says what of it is not on the list.
fn push(
    parsed: &Ast<'_>,
    definition: &Definition,
    place: Place,
    depth: usize,
    out: &mut Vec<Step>,
) -> Result<(), String> {
    if depth > limit::EXPRESSION_DEPTH_MAX || out.len() > limit::EXPRESSION_STEPS_MAX {
        return Err("it is too long or nested too deeply".into());
    }
    let mut go = |e: &Ast<'_>| push(e, definition, place, depth + 1, out);
    let step = match parsed {
        Ast::Parenthesized(inner) => match inner.as_slice() {
            [one] => return go(one),
            _ => return Err("a row of values".into()),
        },
        Ast::Literal(literal) => literal_step(literal)?,
        Ast::Id(id) => name_step(id.0, definition, place)?,
        Ast::Name(name) => name_step(name.0, definition, place)?,
        Ast::Qualified(table, column) if unquote(table.0).0.eq_ignore_ascii_case(&definition.name) => {
            name_step(column.0, definition, place)?
        }
        Ast::Unary(op, e) => {
            go(e)?;
            Step::Unary(match op {
                UnaryOperator::Negative => 0,
                UnaryOperator::Positive => 1,
                UnaryOperator::BitwiseNot => 2,
                UnaryOperator::Not => 3,
            })
        }
        Ast::IsNull(e) => {
            go(e)?;
            Step::Unary(4)
        }
        Ast::NotNull(e) => {
            go(e)?;
            Step::Unary(5)
        }
        Ast::Binary(a, op, b) => {
            go(a)?;
            go(b)?;
            binary_step(*op)
        }
        Ast::Like { lhs, not, op, rhs, escape } => {
            let is_glob = match op {
                LikeOperator::Glob => true,
                LikeOperator::Like => false,
                LikeOperator::Match | LikeOperator::Regexp => return Err("MATCH or REGEXP".into()),
            };
            for e in [Some(lhs), Some(rhs), escape.as_ref()].into_iter().flatten() {
                go(e)?;
            }
            Step::Like { is_glob, is_not: *not, has_escape: escape.is_some() }
        }
        Ast::Between { lhs, not, start, end } => {
            for e in [lhs, start, end] {
                go(e)?;
            }
            Step::Between(*not)
        }
        Ast::InList { lhs, not, rhs } => {
            go(lhs)?;
            let items = rhs.unwrap_or_default();
            items.iter().try_for_each(&mut go)?;
            Step::In(*not, items.len())
        }
        Ast::Case { base, when_then_pairs, else_expr } => {
            base.iter().try_for_each(|e| go(e))?;
            for (when, then) in *when_then_pairs {
                go(when)?;
                go(then)?;
            }
            else_expr.iter().try_for_each(|e| go(e))?;
            Step::Case { has_base: base.is_some(), pairs: when_then_pairs.len(), has_else: else_expr.is_some() }
        }
        Ast::Cast { expr, type_name } => {
            go(expr)?;
            Step::Cast(
                type_name.as_ref().map_or_else(|| Some(String::new()), declared).ok_or("a CAST to a quoted type")?,
            )
        }
        Ast::Collate(e, name) => {
            go(e)?;
            Step::Collate(fold_collation(&unquote(name).0))
        }
        Ast::FunctionCall { name, distinctness: None, args, order_by: None, filter_over: None } => {
            let (name, args) = (unquote(name.0).0.to_ascii_lowercase(), args.unwrap_or_default());
            if !list::is_function(&name, args.len(), place) {
                return Err(format!("the function {name}()"));
            }
            args.iter().try_for_each(&mut go)?;
            Step::Call(name, args.len())
        }
        Ast::FunctionCall { name, .. } | Ast::FunctionCallStar { name, .. } => {
            return Err(format!("the function {}()", unquote(name.0).0));
        }
        Ast::InSelect { .. } | Ast::InTable { .. } | Ast::Exists(_) | Ast::Subquery(_) => return Err("a query".into()),
        Ast::DoublyQualified(..) | Ast::Qualified(..) => return Err("a name of another table".into()),
        Ast::Raise(..) | Ast::Variable(_) => return Err("RAISE or a parameter".into()),
    };
    out.push(step);
    Ok(())
}

fn literal_step(literal: &Literal<'_>) -> Result<Step, String> {
    Ok(match literal {
        Literal::Null => Step::Null,
        Literal::Numeric(n) => Step::Number(n.replace('_', "")),
        Literal::String(text) => Step::Text(unquote(text).0),
        Literal::Blob(text) => Step::Blob(blob(text).ok_or("a blob that is none")?),
        Literal::CurrentDate => Step::Now(0),
        Literal::CurrentTime => Step::Now(1),
        Literal::CurrentTimestamp => Step::Now(2),
        Literal::Keyword(word) => return Err(format!("the word {word}")),
    })
}

fn blob(text: &str) -> Option<Vec<u8>> {
    // With or without the x and the quotes.
    let digits = text.trim_start_matches(['x', 'X']).trim_matches('\'').as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// What a name means: a column; TRUE and FALSE; else a string, where SQLite takes it for one.
fn name_step(raw: &str, definition: &Definition, place: Place) -> Result<Step, String> {
    let (name, quote) = unquote(raw);
    let column = definition.columns.iter().position(|c| c.name.eq_ignore_ascii_case(&name));
    match (column, quote) {
        (Some(c), _) if place == Place::Row => Ok(Step::Column(c)),
        (_, None) if name.eq_ignore_ascii_case("true") => Ok(Step::Truth(true)),
        (_, None) if name.eq_ignore_ascii_case("false") => Ok(Step::Truth(false)),
        (_, _) if place == Place::Default => Ok(Step::Text(name)),
        (None, Some('"')) => Ok(Step::Text(name)),
        _ => Err(format!("the name {name}")),
    }
}

fn binary_step(op: Operator) -> Step {
    Step::Binary(match op {
        Operator::Or => 0,
        Operator::And => 1,
        Operator::Equals => 2,
        Operator::NotEquals => 3,
        Operator::Is => 4,
        Operator::IsNot => 5,
        Operator::Less => 6,
        Operator::LessEquals => 7,
        Operator::Greater => 8,
        Operator::GreaterEquals => 9,
        Operator::BitwiseAnd => 10,
        Operator::BitwiseOr => 11,
        Operator::LeftShift => 12,
        Operator::RightShift => 13,
        Operator::Add => 14,
        Operator::Subtract => 15,
        Operator::Multiply => 16,
        Operator::Divide => 17,
        Operator::Modulus => 18,
        Operator::Concat => 19,
        Operator::ArrowRight => 20,
        Operator::ArrowRightShift => 21,
    })
}
