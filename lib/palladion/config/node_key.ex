defmodule Palladion.Config.NodeKey do
  @moduledoc false
  # Internal: what nodes are found by in the maps that users write, in one spelling.

  alias Palladion.Config.{ContactPoint, Host}

  @typedoc "A host id, a host, or a host and its port"
  @type t :: String.t()

  @doc false
  # Says also what it names: a node, an IP address or a host name.
  @spec parse(term()) :: {:ok, t(), :host_id | :address | :name} | :error
  def parse(given) do
    if is_binary(given) and given =~ ~r/\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\z/i,
      do: {:ok, String.downcase(given), :host_id},
      else: host(given)
  end

  defp host(given) do
    case Host.parse(unbracketed(given)) do
      {:ok, host, kind} -> {:ok, String.downcase(host), kind}
      {:error, _text} -> host_and_port(given)
    end
  end

  defp unbracketed(given) do
    case is_binary(given) and Regex.run(~r/\A\[([^\[\]]*:[^\[\]]*)\]\z/, given) do
      [_all, address] -> address
      _other -> given
    end
  end

  # No port is the default: a key without one was no host.
  defp host_and_port(given) do
    with {:ok, %{host: host, port: port}} <- ContactPoint.parse_one(given, nil),
         {:ok, host, kind} <- Host.parse(host) do
      {:ok, at(host, port), kind}
    else
      _ -> :error
    end
  end

  @doc false
  @spec at(Host.t(), :inet.port_number()) :: t()
  def at(host, port), do: host |> location(port) |> String.downcase()

  @doc false
  # As a reader knows it.
  @spec location(Host.t(), :inet.port_number()) :: String.t()
  def location(host, port) do
    if String.contains?(host, ":"), do: "[#{host}]:#{port}", else: "#{host}:#{port}"
  end
end
