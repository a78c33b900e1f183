defmodule Palladion.Schema.Keyspace do
  @moduledoc """
  A keyspace and what is in it.

    * `name`
    * `replication`: the strategy's `"class"` and its options, as the server has them; empty for
      a virtual keyspace
    * `durable_writes`: whether writes go to the commit log; `nil` for a virtual keyspace
    * `virtual?`: whether its tables show the node's own state, and hold no data
    * `tables`, `views` and `types`: by name, each a `Palladion.Schema.Table`,
      `Palladion.Schema.View` or `Palladion.Schema.Type`
    * `functions` and `aggregates`: by name and argument types, since one name can stand for
      several: `keyspace.functions[{"plus", ["int", "int"]}]` is a `Palladion.Schema.Function`
  """

  alias Palladion.Schema.{Aggregate, Function, Table, Type, View}

  @enforce_keys [:name]
  defstruct [
    :name,
    :durable_writes,
    replication: %{},
    virtual?: false,
    tables: %{},
    views: %{},
    types: %{},
    functions: %{},
    aggregates: %{}
  ]

  @typedoc "The name of a function or an aggregate, and the types of its arguments"
  @type signature :: {String.t(), [String.t()]}

  @type t :: %__MODULE__{
          name: String.t(),
          durable_writes: boolean() | nil,
          replication: %{String.t() => String.t()},
          virtual?: boolean(),
          tables: %{String.t() => Table.t()},
          views: %{String.t() => View.t()},
          types: %{String.t() => Type.t()},
          functions: %{signature() => Function.t()},
          aggregates: %{signature() => Aggregate.t()}
        }

  # Of Cassandra, ScyllaDB, DSE, Astra and Amazon Keyspaces. Named one by one: what begins with
  # "system_" may be a user's.
  @system ~w(system system_auth system_cluster_metadata system_distributed) ++
            ~w(system_distributed_everywhere system_multiregion_info system_replicated_keys) ++
            ~w(system_schema system_schema_mcs system_traces system_views system_virtual_schema) ++
            ~w(dse_analytics dse_insights dse_insights_local dse_leases dse_perf dse_security) ++
            ~w(dse_system dse_system_local dsefs solr_admin data_endpoint_auth datastax_sla)

  @doc false
  @spec system?(t()) :: boolean()
  def system?(%__MODULE__{name: name, virtual?: virtual?}), do: virtual? or name in @system

  @doc false
  # Of the rows of all schema tables. What belongs to no keyspace or table that was read is left
  # out, and so is a table without its key: they came or went meanwhile.
  @spec from_rows(%{atom() => [map()]}) :: %{String.t() => t()}
  def from_rows(answers) do
    read = &Map.get(answers, &1, [])
    by_keyspace = &Enum.group_by(&1, fn row -> row["keyspace_name"] end)
    by_table = &Enum.group_by(&1, fn row -> {row["keyspace_name"], row["table_name"]} end)

    parts = %{
      tables: by_keyspace.(read.(:tables) ++ read.(:virtual_tables)),
      views: by_keyspace.(read.(:views)),
      columns: by_table.(read.(:columns) ++ read.(:virtual_columns)),
      indexes: by_table.(read.(:indexes)),
      types: by_keyspace.(read.(:types)),
      functions: by_keyspace.(read.(:functions)),
      aggregates: by_keyspace.(read.(:aggregates))
    }

    rows =
      Enum.map(read.(:keyspaces), &{&1, false}) ++
        Enum.map(read.(:virtual_keyspaces), &{&1, true})

    Map.new(rows, fn {row, virtual?} -> {row["keyspace_name"], from_row(row, virtual?, parts)} end)
  end

  defp from_row(%{"keyspace_name" => name} = row, virtual?, parts) do
    of = fn part, key -> parts |> Map.fetch!(part) |> Map.get(key, []) end

    tables =
      for row <- of.(:tables, name),
          key = {name, row["table_name"]},
          {:ok, table} <- [Table.from_rows(row, of.(:columns, key), of.(:indexes, key))],
          do: {table.name, table}

    views =
      for row <- of.(:views, name),
          {:ok, view} <- [View.from_rows(row, of.(:columns, {name, row["view_name"]}))],
          do: {view.name, view}

    types = Enum.map(of.(:types, name), &Type.from_row/1)
    functions = Enum.map(of.(:functions, name), &Function.from_row/1)
    aggregates = Enum.map(of.(:aggregates, name), &Aggregate.from_row/1)

    %__MODULE__{
      name: name,
      durable_writes: row["durable_writes"],
      replication: row["replication"] || %{},
      virtual?: virtual?,
      tables: Map.new(tables),
      views: Map.new(views),
      types: Map.new(types, &{&1.name, &1}),
      functions:
        Map.new(functions, &{{&1.name, Enum.map(&1.arguments, fn {_, type} -> type end)}, &1}),
      aggregates: Map.new(aggregates, &{{&1.name, &1.argument_types}, &1})
    }
  end

  defimpl Inspect do
    import Inspect.Algebra

    # The names of what is in it: a keyspace in full is pages.
    def inspect(keyspace, options) do
      contents =
        for part <- [:tables, :views, :types, :functions, :aggregates],
            names = keyspace |> Map.fetch!(part) |> Map.keys() |> Enum.sort(),
            names != [],
            do: {part, names}

      container_doc(
        "#Palladion.Schema.Keyspace<",
        [name: keyspace.name] ++ contents,
        ">",
        options,
        fn {field, value}, options -> concat("#{field}: ", to_doc(value, options)) end
      )
    end
  end
end
