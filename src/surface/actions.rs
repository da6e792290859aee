//! The SQL functions: each a name, how many arguments it takes, and what it does.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Value;
use rusqlite::{Connection, Error, ffi};
use std::sync::Arc;

use super::attached::Attached;
use super::whole::whole;
use super::{ids, membership, memory, tables, why};
use crate::node::sidecar::Sidecar;
use crate::node::{Node, NodeError, config};
use crate::store::{self, Choice, View};

/// Milliseconds that `p2p_sync()` and `p2p_wait()` wait where no time is given.
const WAIT_MS: u64 = 5_000;
/// Milliseconds that an action waits for the node. Most take none; the node may be sealing a million rows at that moment.
pub(super) const ASK_MS: u64 = 30_000;

/// What a function says that can't do its work within a transaction of its caller.
pub(super) const IN_TRANSACTION: &str = "inside a transaction; COMMIT first, and call it in a statement of its own";

/// A function's answer, or what went wrong and what to do.
pub(super) type Outcome = Result<Value, String>;

/// A call under way.
pub(super) struct Call<'a> {
    pub(super) attached: &'a Attached,
    pub(super) conn: &'a Connection,
    args: &'a [Value],
}

impl<'a> Call<'a> {
    pub(super) fn new(attached: &'a Attached, conn: &'a Connection, args: &'a [Value]) -> Self {
        Self { attached, conn, args }
    }

    /// Runs what may insert into private tables: that is none of the host's business.
    pub(super) fn keeping_last_rowid<T>(&self, work: impl FnOnce(&Self) -> T) -> T {
        let last = self.conn.last_insert_rowid();
        let done = work(self);
        // SAFETY: the handle is this connection's, in a call that it makes.
        unsafe { ffi::sqlite3_set_last_insert_rowid(self.conn.handle(), last) };
        done
    }

    /// An argument that must be text.
    pub(super) fn text(&self, at: usize, what: &str) -> Result<&str, String> {
        match self.args.get(at) {
            Some(Value::Text(text)) => Ok(text),
            Some(other) => Err(format!("{what} must be text, not {}", other.data_type())),
            None => Err(format!("{what} is missing")),
        }
    }

    /// An argument that must be an integer.
    fn integer(&self, at: usize, what: &str) -> Result<i64, String> {
        match self.args.get(at) {
            Some(Value::Integer(integer)) => Ok(*integer),
            Some(other) => Err(format!("{what} must be an integer, not {}", other.data_type())),
            None => Err(format!("{what} is missing")),
        }
    }

    /// All arguments from one on.
    pub(super) fn rest(&self, from: usize) -> &[Value] {
        self.args.get(from..).unwrap_or_default()
    }

    /// An argument that may be left out or NULL.
    pub(super) fn option(&self, at: usize, what: &str) -> Result<Option<&str>, String> {
        match self.args.get(at) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.text(at, what).map(Some),
        }
    }

    /// The keys of a database that is in a group.
    pub(super) fn keys(&self) -> Result<Sidecar, String> {
        match self.attached.sidecar().map_err(|e| e.to_string())? {
            Some(keys) => Ok(keys),
            None => {
                membership::refuse_lost(self)?;
                Err("this database has no group yet; call p2p_track() or p2p_join() first".into())
            }
        }
    }

    /// Runs `ask` on the node of a database that is in a group.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Node) -> Result<T, NodeError>) -> Result<T, String> {
        self.keys()?;
        self.attached.ask(ask)
    }

    /// Refuses what a ROLLBACK could not undo, and what would wait for the caller's own COMMIT.
    pub(super) fn refuse_in_transaction(&self) -> Result<(), String> {
        if self.attached.is_in_transaction() { Err(IN_TRANSACTION.into()) } else { Ok(()) }
    }

    /// Milliseconds, or the default.
    fn timeout_ms(&self, at: usize) -> Result<u64, String> {
        match self.args.get(at) {
            None | Some(Value::Null) => Ok(WAIT_MS),
            Some(Value::Integer(ms)) => {
                u64::try_from(*ms).map_err(|_| "the timeout is in milliseconds and not negative".to_owned())
            }
            Some(other) => Err(format!("the timeout must be an integer of milliseconds, not {}", other.data_type())),
        }
    }
}

/// SQLite's way to say that a function takes any number of arguments.
const ANY: (i32, i32) = (-1, -1);

/// One function of SQL.
struct Action {
    name: &'static str,
    /// Fewest and most arguments, or [`ANY`].
    args: (i32, i32),
    run: fn(&Call<'_>) -> Outcome,
}

const ACTIONS: [Action; 18] = [
    Action { name: "p2p_version", args: (0, 0), run: |_| Ok(Value::Text(env!("CARGO_PKG_VERSION").into())) },
    Action { name: "p2p_debug", args: (0, 0), run: debug },
    Action { name: "p2p_track", args: (1, 2), run: membership::track },
    Action { name: "p2p_untrack", args: (1, 1), run: membership::untrack },
    Action { name: "p2p_invite", args: (0, 1), run: membership::invite },
    Action { name: "p2p_join", args: (1, 2), run: membership::join },
    Action { name: "p2p_leave", args: (0, 0), run: membership::leave },
    Action { name: "p2p_listen", args: (1, 1), run: membership::listen },
    Action { name: "p2p_connect", args: (1, 1), run: membership::connect },
    Action { name: "p2p_config", args: (1, 2), run: configure },
    Action { name: "p2p_seal", args: (0, 0), run: seal },
    Action { name: "p2p_sync", args: (0, 1), run: sync },
    Action { name: "p2p_wait", args: (0, 1), run: wait },
    Action { name: "p2p_id", args: (0, 0), run: |_| ids::id().map(Value::Integer).map_err(|e| e.to_string()) },
    Action { name: "p2p_uuid", args: (0, 0), run: |_| Ok(Value::Text(ids::uuid())) },
    Action { name: "p2p_verify", args: (0, 0), run: verify },
    Action { name: "p2p_resolve", args: (2, 2), run: resolve },
    Action { name: "p2p_why", args: ANY, run: why::why },
];

pub(super) fn register(conn: &Connection, attached: &Arc<Attached>) -> rusqlite::Result<()> {
    // Direct only: a schema that came from elsewhere must not act through a view or trigger.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    for action in &ACTIONS {
        for count in action.args.0..=action.args.1 {
            let attached = Arc::clone(attached);
            conn.create_scalar_function(action.name, count, flags, move |ctx| run(action, &attached, ctx))?;
        }
    }
    Ok(())
}

/// rusqlite catches a panic in here.
fn run(action: &Action, attached: &Attached, ctx: &Context<'_>) -> rusqlite::Result<Value> {
    let args: Vec<Value> = (0..ctx.len()).map(|at| ctx.get(at)).collect::<rusqlite::Result<_>>()?;
    // SAFETY: the connection is only used during this call, on the thread that makes it.
    let conn = unsafe { ctx.get_connection()? };
    if attached.is_over() {
        tables::connect(&conn)?;
    }
    let outcome = Call::new(attached, &conn, &args).keeping_last_rowid(action.run);
    outcome.map_err(|why| Error::UserFunctionError(format!("{}: {why}", action.name).into()))
}

fn debug(call: &Call<'_>) -> Outcome {
    let sqlite: String =
        call.conn.query_row("SELECT sqlite_version()", [], |row| row.get(0)).map_err(|e| e.to_string())?;
    let view = call.attached.view();
    let facts = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "sqlite": sqlite,
        "database": call.attached.file().map(|f| f.display().to_string()),
        "sidecar": call.attached.file().map(|f| Sidecar::path(f).display().to_string()),
        "pid": std::process::id(),
        "state": view.map(|v| v.state.word()),
    });
    Ok(Value::Text(facts.to_string()))
}

fn configure(call: &Call<'_>) -> Outcome {
    let key = config::key(call.text(0, "the key")?).map_err(|e| strip(&e))?;
    let mut sidecar = match call.attached.settings().map_err(|e| e.to_string())? {
        Some(sidecar) => sidecar,
        None => {
            let mut sidecar = Sidecar::found().map_err(|e| e.to_string())?;
            sidecar.has_group = false;
            sidecar
        }
    };
    if let Some(value) = call.option(1, "the value")? {
        config::check(key, value).map_err(|e| strip(&e))?;
        sidecar.config.insert(key.name.to_owned(), value.to_owned());
        call.attached.keep(sidecar.clone()).map_err(|e| e.to_string())?;
        call.attached.reload()?;
    }
    Ok(Value::Text(config::value(key, &sidecar.config)))
}

/// The function's name stands before every error already.
pub(super) fn strip(error: &config::ConfigError) -> String {
    let text = error.to_string();
    text.strip_prefix("p2p_config: ").map(str::to_owned).unwrap_or(text)
}

fn seal(call: &Call<'_>) -> Outcome {
    if call.attached.file().is_none() {
        return memory::seal(call);
    }
    let entries = call.ask(|node| node.seal(ASK_MS))?;
    Ok(entries.parse().map_or(Value::Text(entries), Value::Integer))
}

fn sync(call: &Call<'_>) -> Outcome {
    let timeout_ms = call.timeout_ms(0)?;
    if call.attached.file().is_none() {
        return memory::sync(call);
    }
    call.ask(|node| node.sync(timeout_ms)).map(Value::Text)
}

fn wait(call: &Call<'_>) -> Outcome {
    let timeout_ms = call.timeout_ms(0)?;
    if call.attached.file().is_none() {
        return Err(membership::NO_NETWORK.into());
    }
    match call.ask(|node| Ok(node.wait_remote(timeout_ms)))? {
        Ok(_) => Ok(Value::Integer(1)),
        Err(NodeError::Timeout(_)) => Ok(Value::Integer(0)),
        Err(why) => Err(why.to_string()),
    }
}

fn verify(call: &Call<'_>) -> Outcome {
    let Some(mut view) = View::open(call.conn).map_err(|e| e.to_string())? else {
        return Err("no table is tracked; there is nothing to verify".into());
    };
    let findings = view.verify().map_err(|e| e.to_string())?;
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    Ok(Value::Text(if lines.is_empty() { "ok".to_owned() } else { lines.join("\n") }))
}

fn resolve(call: &Call<'_>) -> Outcome {
    let id = call.integer(0, "the conflict")?;
    let choice = match call.text(1, "the choice")? {
        "lost" => Choice::Lost,
        "kept" => Choice::Kept,
        other => return Err(format!("the choice is 'lost' or 'kept', not {other:?}")),
    };
    whole(call.conn, || store::resolve(call.conn, id, choice).map_err(|e| e.to_string())).map(Value::Text)
}
