defmodule Palladion.Request.Operation do
  @moduledoc false
  # What a request does, as the native library is asked for it. Native options end with the route:
  # `nil`, or a node to go to or to avoid.

  alias Palladion.Prepared

  @type t ::
          {:query, statement :: term(), native :: tuple()}
          | {:execute, key :: tuple(), values :: term(), native :: tuple(), statement :: term()}
          | {:prepare, statement :: term(), route()}

  @type route :: nil | {:first | :avoid, node :: binary()}

  @doc false
  @spec new(Prepared.t() | term(), term(), tuple()) :: t()
  def new(%Prepared{} = prepared, values, native),
    do: {:execute, {:id, prepared.id}, values, native, prepared.statement}

  def new(statement, [], native), do: {:query, statement, native}

  def new(statement, values, native),
    do: {:execute, {:text, statement}, values, native, statement}

  @doc false
  # What is no statement is refused by the native library.
  @spec statement(t()) :: String.t()
  def statement({:query, statement, _native}) when is_binary(statement), do: statement
  def statement({:prepare, statement, _route}) when is_binary(statement), do: statement

  def statement({:execute, _key, _values, _native, statement}) when is_binary(statement),
    do: statement

  def statement(_other), do: ""

  @doc false
  @spec to(t(), route()) :: t()
  def to({:prepare, statement, _route}, route), do: {:prepare, statement, route}
  def to({:query, statement, native}, route), do: {:query, statement, put(native, route)}

  def to({:execute, key, values, native, statement}, route),
    do: {:execute, key, values, put(native, route), statement}

  defp put(native, route), do: put_elem(native, tuple_size(native) - 1, route)
end
