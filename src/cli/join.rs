//! `p2pdb join`

use rusqlite::Connection;
use serde_json::json;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::out::count;
use super::progress::Progress;
use super::rows::{Rows, call};
use super::{Failure, Out, database, status};

/// Bytes of a ticket that is read; the longest is far below.
const TICKET_BYTES_MAX: u64 = 64 * 1024;
/// How long the node is given to prove that it is level.
const LEVEL_MS: i64 = 2_000;
/// Between two looks, where nothing is merged.
const LOOK_MS: i64 = 100;

/// What to join.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database file; a new one is made if there is none.
    database: PathBuf,
    /// The ticket, or - to read it from the standard input: other users of this machine can see what stands here.
    ticket: String,
    /// Merge the rows of tables that are here already into the group's.
    #[arg(long)]
    merge: bool,
    /// Seconds without any progress after which to give up waiting; the database stays joined.
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Do not wait for the rows.
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(args: &Args, out: &Out) -> Result<(), Failure> {
    let ticket = ticket(&args.ticket)?;
    let conn = database::open_or_create(&args.database)?;
    let options = if args.merge { r#"{"existing":"merge"}"# } else { "{}" };
    let told = call(&conn, "SELECT p2p_join(?1, ?2)", [ticket.as_str(), options])?;
    out.line(&told)?;
    let level = if args.no_wait { "not waited for".to_owned() } else { wait(&conn, args, out)? };
    let tables = status::tables(&conn)?;
    let sums = "SELECT entries, (SELECT coalesce(sum(rows), 0) FROM p2p_tables) FROM p2p_status";
    let (entries, rows): (i64, i64) = conn.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let value = json!({ "told": told, "sync": level, "entries": entries, "tables": tables.objects() });
    let text = [
        count(tables.rows.len() as u64, "table", "tables"),
        count(rows.unsigned_abs(), "row", "rows"),
        count(entries.unsigned_abs(), "entry", "entries"),
    ];
    out.answer(&value, &format!("{level}: {}", text.join(", ")))
}

fn ticket(given: &str) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given.trim().to_owned());
    }
    let mut read = String::new();
    std::io::stdin().take(TICKET_BYTES_MAX).read_to_string(&mut read).map_err(|why| {
        Failure::new(format!("the ticket can't be read from the standard input: {why}; pipe it in: p2pdb join FILE -"))
    })?;
    match read.trim() {
        "" => Err(Failure::Usage("no ticket came in; pipe it in, as in: p2pdb join FILE - < ticket".into())),
        ticket => Ok(ticket.to_owned()),
    }
}

/// Waits until everything the peers have is here. Says how that ended.
fn wait(conn: &Connection, args: &Args, out: &Out) -> Result<String, Failure> {
    let mut progress = Progress::new(out, "joining");
    let (mut last, mut moved) = ((0, 0), Instant::now());
    loop {
        let look = Look::at(conn)?;
        let done = match look.state.as_str() {
            "level" | "syncing" if look.behind == 0 => {
                call(conn, "SELECT p2p_sync(?1)", [LEVEL_MS]).ok().filter(|answer| answer.starts_with("level"))
            }
            "follower" | "local" => Some(look.detail.clone()),
            "degraded" | "unjoined" => return Err(Failure::new(format!("{}: {}", look.state, look.detail))),
            _ => None,
        };
        if let Some(done) = done {
            progress.end();
            return Ok(done);
        }
        progress.show(look.entries, look.entries + look.behind, &look.detail);
        if last != (look.entries, look.behind) {
            (last, moved) = ((look.entries, look.behind), Instant::now());
        }
        if moved.elapsed() > Duration::from_secs(args.timeout) {
            progress.end();
            return Err(gave_up(conn, args, &look));
        }
        // Returns as soon as something is merged. In vain it is a pause, and holds no statement open.
        call(conn, "SELECT p2p_wait(?1)", [LOOK_MS])?;
    }
}

fn gave_up(conn: &Connection, args: &Args, look: &Look) -> Failure {
    let peers = Rows::query(conn, "SELECT address || ' (' || state || ')' FROM p2p_peers", []);
    let tried: Vec<_> = peers.map(|p| p.rows).unwrap_or_default().into_iter().flatten().collect();
    let tried: Vec<_> = tried.iter().map(super::rows::text_of).collect();
    let tried = if tried.is_empty() { String::new() } else { format!("; tried {}", tried.join(", ")) };
    let name = args.database.display();
    Failure::new(format!(
        "joined, but nothing new came for {} s: {}{tried}. See that a program at the other end has its database open, as \
         `p2pdb serve` does, then run `p2pdb serve {name}`: it goes on by itself",
        args.timeout, look.detail
    ))
}

/// How far the join is.
struct Look {
    state: String,
    detail: String,
    entries: u64,
    behind: u64,
}

impl Look {
    fn at(conn: &Connection) -> Result<Self, Failure> {
        let sql = "SELECT state, detail, entries, (SELECT coalesce(max(behind), 0) FROM p2p_peers) FROM p2p_status";
        Ok(conn.query_row(sql, [], |row| {
            let entries: i64 = row.get(2)?;
            let behind: i64 = row.get(3)?;
            let [entries, behind] = [entries, behind].map(|n| u64::try_from(n).unwrap_or_default());
            Ok(Self { state: row.get(0)?, detail: row.get(1)?, entries, behind })
        })?)
    }
}
