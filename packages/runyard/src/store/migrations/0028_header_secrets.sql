-- Secrets that the gateway puts into a header of requests to one host, so that no sandbox has them. Both columns are
-- authenticated with the value, by the servers that encrypt it.

alter table runyard.secrets
  add column host text,
  -- The header's line, `{value}` standing for the value.
  add column header text,
  add check ((host is null) = (header is null));
alter table runyard.run_secrets
  add column host text,
  add column header text,
  add check ((host is null) = (header is null));
