defmodule Palladion.Schema do
  @moduledoc """
  What a cluster's keyspaces, tables, views, types and functions are, as `Palladion.schema/2`
  reads it.

      {:ok, schema} = Palladion.schema(MyApp.DB)
      Map.keys(schema.keyspaces)
      #=> ["shop"]

      orders = Palladion.Schema.table(schema, "shop", "orders")
      Palladion.Schema.Table.primary_key(orders)
      #=> ["customer", "at"]
      for column <- orders.columns, do: {column.name, column.type}
      #=> [{"customer", "int"}, {"at", "timestamp"}, {"status", "text"}, {"items", "list<text>"}]
      orders.clustering_order
      #=> [{"at", :desc}]
      orders.options["gc_grace_seconds"]
      #=> 864000

  Nothing is kept: each call asks the server's schema tables anew, in the calling process and
  with all questions under way at once.

  Names and types are the server's own texts, without quotes: a keyspace created as `Shop` is
  `"shop"`, and one created as `"Shop"` is `"Shop"`. What a server has of a table beyond the
  fields here is in its `options`, under the server's names, which differ from version to
  version. A server that has no views, for example, has none here.

  The things of a kind are in maps by their names, and where they have an order in lists.

  ## While the schema changes

  The answers to the questions are not of one moment, nor always of one node. What came or went
  between them may be missing: a table whose key columns were not read is left out, and so is
  what belongs to a keyspace or a table that was not read. The next call has it.
  """

  alias Palladion.Config.Options
  alias Palladion.Error
  alias Palladion.Schema.{Keyspace, Reader, Table}

  @enforce_keys [:keyspaces]
  defstruct [:keyspaces]

  @typedoc "`keyspaces`: by their names"
  @type t :: %__MODULE__{keyspaces: %{String.t() => Keyspace.t()}}

  @typedoc """
  Options of `Palladion.schema/2`.

    * `:keyspace` – the name of the only keyspace to read, which may be one of the system's
      (default: all)
    * `:system` – whether the keyspaces of the system are read too, virtual ones among them
      (default `false`)
    * `:timeout` – how long it may take in all, in ms, or `:infinity` (default 30,000)
  """
  @type option ::
          {:keyspace, String.t()} | {:system, boolean()} | {:timeout, timeout()}

  @defaults %{keyspace: nil, system: false, timeout: 30_000}
  @keys [:keyspace, :system, :timeout]

  @doc false
  # What `Palladion.schema/2` does.
  @spec read(Palladion.name(), [option()]) :: {:ok, t()} | Palladion.error()
  def read(name, options \\ []) do
    options = build(options)

    with {:ok, rows} <- Reader.read(name, options) do
      rows |> Keyspace.from_rows() |> select(options)
    end
  end

  defp select(keyspaces, %{keyspace: nil, system: true}), do: {:ok, of(keyspaces)}

  defp select(keyspaces, %{keyspace: nil}) do
    {:ok, of(Map.reject(keyspaces, fn {_name, keyspace} -> Keyspace.system?(keyspace) end))}
  end

  defp select(keyspaces, %{keyspace: name}) do
    case Map.take(keyspaces, [name]) do
      none when none == %{} -> {:error, unknown(name, Map.keys(keyspaces))}
      only -> {:ok, of(only)}
    end
  end

  defp of(keyspaces), do: %__MODULE__{keyspaces: keyspaces}

  defp unknown(name, known) do
    suggestion = if known != [], do: Options.suggestion(name, known)
    hint = if suggestion, do: ", " <> suggestion, else: ""

    %Error{
      reason: :invalid,
      message: "there is no keyspace #{inspect(name)}#{hint}",
      details: %{keyspace: name}
    }
  end

  # From the right: of one that is repeated the first counts, as of all requests.
  defp build(options) when is_list(options), do: List.foldr(options, @defaults, &put/2)
  defp build(_other), do: raise(ArgumentError, "options must be a keyword list")

  defp put({:keyspace, name}, values) when is_binary(name) and name != "",
    do: %{values | keyspace: name}

  defp put({:system, system?}, values) when is_boolean(system?), do: %{values | system: system?}
  defp put({:timeout, :infinity}, values), do: %{values | timeout: :infinity}

  defp put({:timeout, ms}, values) when is_integer(ms) and ms in 0..0xFFFFFFFF,
    do: %{values | timeout: ms}

  defp put({key, _value}, _values) when key in @keys do
    raise ArgumentError, "invalid value of the option #{inspect(key)}; see Palladion.schema/2"
  end

  defp put({key, _value}, _values) when is_atom(key) do
    hint =
      Options.suggestion(key, @keys) || "known are: " <> Enum.map_join(@keys, ", ", &inspect/1)

    raise ArgumentError, "unknown option #{inspect(key)}; #{hint}"
  end

  defp put(_other, _values), do: raise(ArgumentError, "options must be a keyword list")

  @doc """
  A keyspace, or `nil` if there is none of this name.

      Palladion.Schema.keyspace(schema, "shop").replication
      #=> %{"class" => "org.apache.cassandra.locator.NetworkTopologyStrategy", "dc1" => "3"}
  """
  @spec keyspace(t(), String.t()) :: Keyspace.t() | nil
  def keyspace(%__MODULE__{keyspaces: keyspaces}, name), do: Map.get(keyspaces, name)

  @doc """
  A table, or `nil` if there is none of these names. A materialized view is no table.

      Palladion.Schema.table(schema, "shop", "orders").partition_key
      #=> ["customer"]
  """
  @spec table(t(), String.t(), String.t()) :: Table.t() | nil
  def table(%__MODULE__{} = schema, keyspace, table) do
    with %Keyspace{tables: tables} <- keyspace(schema, keyspace), do: Map.get(tables, table)
  end

  defimpl Inspect do
    import Inspect.Algebra

    def inspect(schema, options) do
      names = schema.keyspaces |> Map.keys() |> Enum.sort()
      concat(["#Palladion.Schema<keyspaces: ", to_doc(names, options), ">"])
    end
  end
end
