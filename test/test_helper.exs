alias Palladion.Test.{Cassandra, Matrix, Python}

ExUnit.start(exclude: Cassandra.exclude() ++ Matrix.exclude() ++ Python.exclude())
ExUnit.after_suite(fn _result -> Cassandra.stop_all() end)
