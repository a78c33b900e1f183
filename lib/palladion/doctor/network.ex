defmodule Palladion.Doctor.Network do
  @moduledoc false
  # Internal: names and ports, before anything is said there.

  @doc false
  # Every address of both families, IPv4 first. A cluster dials in the order of getaddrinfo, which
  # may be another.
  @spec resolve(String.t(), timeout()) :: {:ok, [String.t(), ...]} | {:error, atom()}
  def resolve(host, timeout) do
    host = String.to_charlist(host)
    lookups = for family <- [:inet, :inet6], do: Task.async(fn -> lookup(host, family) end)
    results = lookups |> Task.yield_many(timeout) |> Enum.map(&result/1)

    case Enum.uniq(for {:ok, addresses} <- results, address <- addresses, do: text(address)) do
      [] -> hd(results)
      addresses -> {:ok, addresses}
    end
  end

  # Each family alone: an address is one of them, and no name needs to be of both.
  defp lookup(host, family) do
    case :inet.parse_strict_address(host) do
      {:ok, address} when tuple_size(address) == 4 and family == :inet -> {:ok, [address]}
      {:ok, address} when tuple_size(address) == 8 and family == :inet6 -> {:ok, [address]}
      {:ok, _other_family} -> {:error, :nxdomain}
      {:error, _no_address} -> :inet.getaddrs(host, family)
    end
  end

  defp result({_task, {:ok, result}}), do: result

  defp result({task, nil}) do
    Task.shutdown(task, :brutal_kill)
    {:error, :timeout}
  end

  defp text(address), do: address |> :inet.ntoa() |> List.to_string()

  @doc false
  # One TCP connection, closed at once.
  @spec dial(String.t(), :inet.port_number(), timeout()) :: :ok | {:error, atom()}
  def dial(address, port, timeout) do
    {:ok, address} = address |> String.to_charlist() |> :inet.parse_strict_address()

    with {:ok, socket} <- :gen_tcp.connect(address, port, [:binary, active: false], timeout),
         do: :gen_tcp.close(socket)
  end
end
