//! P2PDB as a loadable SQLite extension. Entry points, and what must be checked before the first call into SQLite.
#![allow(unsafe_code)]

use rusqlite::ffi::{self, sqlite3, sqlite3_api_routines};
use std::ffi::{CString, c_char, c_int};
use std::sync::atomic::{AtomicPtr, Ordering};

use engine::node::is_ours;
use engine::surface::guard::guard;
use engine::surface::{Db, DbName, register, set_db_name};

/// SQLite 3.35: the first in which TEMP triggers run while other triggers are disabled.
const SQLITE_FLOOR: c_int = 3_035_000;

/// The API table of the SQLite library that loaded us first.
static API: AtomicPtr<sqlite3_api_routines> = AtomicPtr::new(std::ptr::null_mut());

/// SQLite 3.39: its API table ends with `db_name`, or goes on after it.
const SQLITE_WITH_DB_NAME: c_int = 3_039_000;

/// The API table as it is since 3.39, of which rusqlite knows the beginning.
#[repr(C)]
struct Api339 {
    known: sqlite3_api_routines,
    /// `changes64` to `serialize`.
    between: [Option<unsafe extern "C" fn()>; 11],
    db_name: Option<DbName>,
}

macro_rules! entry_point {
    ($($name:ident)*) => {$(
        /// Called by SQLite when it loads the extension.
        ///
        /// # Safety
        /// Only SQLite may call it, with its own arguments.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            db: *mut sqlite3,
            message: *mut *mut c_char,
            api: *mut sqlite3_api_routines,
        ) -> c_int {
            // SAFETY: the arguments are SQLite's.
            unsafe { load(db, message, api) }
        }
    )*};
}

// SQLite guesses the second from libp2pdb.so, for it drops digits; callers name the third.
entry_point!(sqlite3_extension_init sqlite3_ppdb_init sqlite3_p2pdb_init);

unsafe fn load(db: *mut sqlite3, message: *mut *mut c_char, api: *mut sqlite3_api_routines) -> c_int {
    if api.is_null() {
        return ffi::SQLITE_ERROR;
    }
    // SAFETY: `api` is SQLite's own table, alive as long as the library.
    if let Err(why) = unsafe { check(api) } {
        // SAFETY: as above, and `message` is where SQLite wants an error.
        unsafe { tell(api, message, &why) };
        return ffi::SQLITE_ERROR;
    }
    if is_ours() {
        return ffi::SQLITE_OK_LOAD_PERMANENTLY;
    }
    // SAFETY: the version and the library were checked; `db` is the connection that loads us.
    let done = guard(|| unsafe {
        ffi::rusqlite_extension_init2(api)?;
        if let Some(db_name) = db_name(api) {
            set_db_name(db_name);
        }
        register(&rusqlite::Connection::from_handle(db)?, Db(db))
    });
    match done {
        // Our thread outlives this connection: the library must stay mapped.
        Ok(()) => ffi::SQLITE_OK_LOAD_PERMANENTLY,
        Err(why) => {
            // SAFETY: as above.
            unsafe { tell(api, message, &why.to_string()) };
            ffi::SQLITE_ERROR
        }
    }
}

/// Is this SQLite new enough, and the one that loaded us before? All calls of a process go through one API table: with
/// that of another library they would reach the wrong one's connections.
unsafe fn check(api: *mut sqlite3_api_routines) -> Result<(), String> {
    // SAFETY: the field is part of every table since 3.5.
    let version = unsafe { (*api).libversion_number.map_or(0, |version| version()) };
    if version < SQLITE_FLOOR {
        let (major, minor, patch) = (version / 1_000_000, version / 1000 % 1000, version % 1000);
        return Err(format!("p2pdb needs SQLite 3.35.0 or later, this is {major}.{minor}.{patch}"));
    }
    match API.compare_exchange(std::ptr::null_mut(), api, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(()),
        Err(first) if first == api => Ok(()),
        Err(_) => Err("p2pdb was loaded through another SQLite library of this process; load it through that one. \
                       Tables that are tracked can be written here all the same: their changes are captured"
            .into()),
    }
}

/// `sqlite3_db_name`, where this SQLite has it.
unsafe fn db_name(api: *const sqlite3_api_routines) -> Option<DbName> {
    // SAFETY: the version says how long the table is.
    unsafe {
        let version = (*api).libversion_number.map_or(0, |version| version());
        if version < SQLITE_WITH_DB_NAME { None } else { (*api.cast::<Api339>()).db_name }
    }
}

/// Hands an error message to SQLite, in its own memory.
unsafe fn tell(api: *mut sqlite3_api_routines, message: *mut *mut c_char, why: &str) {
    let (Ok(why), false) = (CString::new(why), message.is_null()) else { return };
    // SAFETY: both are C strings; the text is an argument, never the format.
    unsafe {
        if let Some(mprintf) = (*api).mprintf {
            *message = mprintf(c"%s".as_ptr(), why.as_ptr());
        }
    }
}
