-- What a repository settles for runs that do not say it themselves.

alter table runyard.repositories
  -- null: its own HEAD.
  add column branch text,
  -- [{run, kind, timeout}], never empty; null: nothing is verified.
  add column verify json,
  -- A profile's name, or a saved agent's name or id, which may have gone; null: the profile builtin.
  add column agent text;
