-- What becomes of the results of runs that do not say it themselves.

alter table runyard.organizations
  -- null: a pull request where one can be had, else a branch.
  add column publish text check (publish in ('none', 'branch', 'pull_request')),
  -- {draft, labels, reviewers}, as far as they are said; null: nothing of it.
  add column pull_request json;
alter table runyard.repositories
  -- null: as the organization has it, both.
  add column publish text check (publish in ('none', 'branch', 'pull_request')),
  add column pull_request json;
