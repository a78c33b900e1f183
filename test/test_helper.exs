alias Palladion.Test.{Cassandra, Python}

ExUnit.start(exclude: Cassandra.exclude() ++ Python.exclude())
ExUnit.after_suite(fn _result -> Cassandra.stop_all() end)
