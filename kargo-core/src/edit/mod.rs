//! Edits of configuration files that change the wanted bytes and no others.
