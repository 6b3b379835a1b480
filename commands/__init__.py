"""What can be done: one typed function for each thing, called alike by HTTP, command line, background work and demo.

This room alone makes a `Command`. A function takes by name the ids and typed facts, and of what else there is just what
it uses (a ledger, a vault, a format of secrets): never a request, settings or services. There are two shapes.

- **It gives a command** (or several, for one transaction), named by its verb: `clients.disable(client_id)`. Anyone who
  asked has it executed, since HTTP keeps its answer in the same transaction and others put several commands into one.
- **It is `async` and executes**, where several steps belong to the thing: `log_keys.rotate(…)`. Then it takes `ledger`
  and an `Origin`, and gives the refusal, if there was one.

`decide(state, view)` of a command calls one verb of the domain with its parameters by their names, so that the types
are checked from the handler to the verb. What was looked at before the lock is read again there through `view`.
Rules are the domain's: a function of this room looks up and passes on, and refuses only what no aggregate can know.
Parsing comes before it, words for people after it.
"""
