defmodule Palladion.VerifiedName do
  @moduledoc false
  # The name that the certificate of a node or a contact point must carry, where
  # `tls: [verify_hostname:]` has one for each. What holds for all of them (a name, `false`, or
  # `nil` for their own) is applied by the native library.

  alias Palladion.Config.{ContactPoint, Host, NodeFunction, NodeKey, NodeTemplate, Options}
  alias Palladion.Node

  @typedoc "For each its own"
  @type rule ::
          {:template, String.t()}
          | {:map, %{NodeKey.t() => Host.t()}}
          | {:function, NodeFunction.t()}

  @type t :: rule() | Host.t() | false | nil

  @doc false
  # Of a node with its endpoint. `nil`: the endpoint's name counts. Raises what a function does.
  @spec of(t(), Node.t()) :: {:ok, Host.t() | nil} | {:error, term()}
  def of({:template, template}, node) do
    with {:ok, text} <- NodeTemplate.fill(template, node), do: name(text)
  end

  def of({:map, map}, node), do: {:ok, Enum.find_value(keys(node), &map[&1])}

  def of({:function, function}, node) do
    case NodeFunction.call(function, node) do
      {:error, reason} -> {:error, reason}
      {:ok, answer} -> answered(answer)
      answer -> answered(answer)
    end
  end

  def of(_same_for_all, _node), do: {:ok, nil}

  @doc false
  # A template that needs more than an address and a port says nothing of a contact point.
  @spec of_contact_point(t(), ContactPoint.t()) :: {:ok, Host.t() | nil} | {:error, term()}
  def of_contact_point(rule, %ContactPoint{host: host, port: port}) do
    node = %Node{address: host, port: port}
    if applies?(rule, node), do: of(rule, node), else: {:ok, nil}
  end

  defp applies?({:template, template}, node), do: NodeTemplate.missing(template, node) == []
  defp applies?(_rule, _node), do: true

  # What says most comes first.
  defp keys(node) do
    places = Enum.reject([announced(node), dialled(node), named(node)], &is_nil/1)

    [node.host_id] ++
      Enum.map(places, fn {host, port} -> NodeKey.at(host, port) end) ++
      Enum.map(places, fn {host, _port} -> String.downcase(host) end)
  end

  defp announced(node), do: {node.address, node.port}

  defp dialled(%{endpoint: nil}), do: nil
  defp dialled(%{endpoint: endpoint}), do: {endpoint.address, endpoint.port}

  # Found by the address that the contact point's name has.
  defp named(%{contact_point: nil}), do: nil
  defp named(%{contact_point: name, port: port}), do: {name, port}

  defp answered(nil), do: {:ok, nil}
  defp answered(answer), do: name(answer)

  @doc false
  # A name that a map or a function has for a node.
  @spec name(term()) :: {:ok, Host.t()} | {:error, String.t()}
  def name(false) do
    {:error,
     "false turns the check off, which can't be done for some nodes; verify_hostname: false " <>
       "does it for all"}
  end

  def name(given) do
    case Host.parse(given) do
      {:ok, name, _kind} -> {:ok, name}
      {:error, text} -> {:error, "the name #{Options.show(given)} #{text}"}
    end
  end
end
