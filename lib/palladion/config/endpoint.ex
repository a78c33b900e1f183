defmodule Palladion.Config.Endpoint do
  @moduledoc false
  # Internal: endpoints as users and their functions write them, in one form.

  alias Palladion.Config.{ContactPoint, Host, Options}
  alias Palladion.Endpoint

  @doc false
  # Takes what a contact point can be, and an endpoint.
  @spec parse(term(), :inet.port_number()) :: {:ok, Endpoint.t()} | {:error, String.t()}
  def parse(%Endpoint{} = given, default_port) do
    with {:ok, address, _kind} <- host(:address, given.address),
         {:ok, port} <- port(given.port || default_port),
         {:ok, verified_name, _kind} <- optional(:verified_name, given.verified_name),
         {:ok, sni, kind} <- optional(:sni, given.sni),
         :ok <- name(sni, kind) do
      {:ok, %Endpoint{address: address, port: port, verified_name: verified_name, sni: sni}}
    end
  end

  def parse(given, default_port) do
    case ContactPoint.parse_one(given, default_port) do
      {:ok, %{host: host, port: port}} -> {:ok, %Endpoint{address: host, port: port}}
      {:error, text} -> {:error, "#{ContactPoint.show(given)} #{text}"}
    end
  end

  defp optional(_field, nil), do: {:ok, nil, :name}
  defp optional(field, given), do: host(field, given)

  defp host(field, given) do
    with {:error, text} <- Host.parse(given) do
      {:error, "the endpoint's #{field} #{Options.show(given)} #{text}"}
    end
  end

  defp port(port) when port in 1..65_535, do: {:ok, port}

  defp port(other) do
    {:error, "the endpoint's port #{Options.show(other)} is not a number from 1 to 65_535"}
  end

  defp name(_sni, :name), do: :ok
  defp name(sni, :address), do: {:error, "the endpoint's sni #{sni} is no host name"}
end
