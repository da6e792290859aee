//! One served file, and what changed since it was last looked at.

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::out::count;
use crate::cli::rows::{Rows, call, text_of};
use crate::cli::{Failure, database};
use crate::store::{Growth, View};

/// How often the state is looked at where nothing was committed: it may change with the network.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// Something that happened.
pub(super) struct Event {
    pub(super) word: &'static str,
    pub(super) facts: Value,
    pub(super) text: String,
}

/// A file under service.
pub(super) struct Served {
    name: String,
    /// A host like any other: it keeps the node alive, and sees its view.
    conn: Connection,
    /// Reads the file beside it, so that the node never waits for a read of ours.
    reader: Connection,
    author: String,
    data_version: i64,
    last_arrival: u64,
    peers: BTreeMap<String, String>,
    listen: String,
    state: String,
    /// As it was at the look before: what lasts shorter is not worth a line.
    state_before: String,
    looked: Option<Instant>,
    /// Why the last look failed.
    trouble: String,
}

impl Served {
    pub(super) fn open(path: &Path, name: String, listen: Option<&str>) -> Result<Self, Failure> {
        let conn = database::open(path)?;
        if database::settled_state(&conn)? == "unjoined" {
            let why = call(&conn, "SELECT detail FROM p2p_status", [])?;
            return Err(Failure::new(format!(
                "{name}: {why}; in the shell: p2pdb track {path}, p2pdb join {path} -",
                path = path.display()
            )));
        }
        if let Some(address) = listen {
            call(&conn, "SELECT p2p_listen(?1)", [address])?;
        }
        let reader = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        reader.busy_timeout(Duration::from_secs(1))?;
        let author = call(&conn, "SELECT peer_id FROM p2p_status", [])?;
        let last_arrival = View::open(&reader)?.map_or(Ok(0), |v| v.last_arrival())?;
        let (peers, listen, state, state_before) = Default::default();
        Ok(Self {
            name,
            conn,
            reader,
            author,
            data_version: -1,
            last_arrival,
            peers,
            listen,
            state,
            state_before,
            looked: None,
            trouble: String::new(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What happened since the last look. A look that fails is told of once and tried again: one file in trouble, or a moment
    /// in which another program holds it, must not end the service of all.
    pub(super) fn happened(&mut self) -> Vec<Event> {
        match self.look() {
            Ok(events) => {
                self.trouble.clear();
                events
            }
            Err(why) => {
                let why = why.to_string();
                if why == self.trouble {
                    return Vec::new();
                }
                let text = format!("can't be looked at: {why}; it is tried again");
                let event = Event { word: "trouble", facts: json!({ "error": why }), text };
                self.trouble = why;
                vec![event]
            }
        }
    }

    fn look(&mut self) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        self.look_at_peers(&mut events)?;
        let version = self.reader.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        let is_changed = version != self.data_version;
        self.data_version = version;
        if is_changed {
            self.look_at_log(&mut events)?;
        }
        if is_changed || self.looked.is_none_or(|at| at.elapsed() >= STATE_EVERY) {
            self.looked = Some(Instant::now());
            self.look_at_state(&mut events)?;
        }
        Ok(events)
    }

    fn look_at_peers(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        let sql = "SELECT peer_id, path, address FROM p2p_peers WHERE peer_id IS NOT NULL AND path IS NOT NULL";
        let rows = Rows::query(&self.conn, sql, [])?;
        let mut now = BTreeMap::new();
        for row in &rows.rows {
            let [peer, path, address] = [0, 1, 2].map(|at| text_of(&row[at]));
            now.insert(peer, format!("{path}, {address}"));
        }
        for (peer, how) in now.iter().filter(|(peer, _)| !self.peers.contains_key(*peer)) {
            let facts = json!({ "peer_id": peer, "how": how });
            events.push(Event { word: "peer_connected", facts, text: format!("peer {peer} connected ({how})") });
        }
        for peer in self.peers.keys().filter(|peer| !now.contains_key(*peer)) {
            let facts = json!({ "peer_id": peer });
            events.push(Event { word: "peer_left", facts, text: format!("peer {peer} left") });
        }
        self.peers = now;
        Ok(())
    }

    fn look_at_log(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        let Some(view) = View::open(&self.reader)? else { return Ok(()) };
        for Growth { author, entries, ops, last_arrival } in view.grown_after(self.last_arrival)? {
            self.last_arrival = self.last_arrival.max(last_arrival);
            let author = author.to_string();
            let facts = json!({ "author": author, "entries": entries, "changes": ops });
            let what = format!("{}, {}", count(entries, "entry", "entries"), count(ops, "change", "changes"));
            events.push(if author == self.author {
                Event { word: "sealed", facts, text: format!("sealed {what}") }
            } else {
                Event { word: "merged", facts, text: format!("merged {what} of {author}") }
            });
        }
        Ok(())
    }

    fn look_at_state(&mut self, events: &mut Vec<Event>) -> Result<(), Failure> {
        let row = Rows::query(&self.conn, "SELECT state, detail, listen, last_error FROM p2p_status", [])?;
        let Some(row) = row.rows.first() else { return Ok(()) };
        let [state, detail, listen, error] = [0, 1, 2, 3].map(|at| text_of(&row[at]));
        if listen != self.listen {
            let facts = json!({ "listen": listen });
            let text = if listen.is_empty() { "not listening".to_owned() } else { format!("listening on {listen}") };
            events.push(Event { word: "listening", facts, text });
            self.listen = listen;
        }
        // Numbers in the detail move all the time; the word is what counts, and why it failed.
        let now = if state == "failing" { format!("failing {error}") } else { state.clone() };
        let is_first = self.state.is_empty();
        if now != self.state && (is_first || now == self.state_before) {
            self.state.clone_from(&now);
            let facts = json!({ "state": state, "detail": detail });
            events.push(Event { word: "state", facts, text: format!("{state}: {detail}") });
        }
        self.state_before = now;
        Ok(())
    }
}
