-- Somebody's sessions, however many others have.
CREATE INDEX sessions_of_principal ON sessions (principal, opened_at DESC, id DESC);
