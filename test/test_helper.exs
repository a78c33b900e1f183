alias Palladion.Test.Cassandra

ExUnit.start(exclude: Cassandra.exclude())
ExUnit.after_suite(fn _result -> Cassandra.stop_all() end)
