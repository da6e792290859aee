//! P2PDB.
