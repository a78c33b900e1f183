defmodule Palladion.Config.Trust do
  @moduledoc false
  # Internal: the authorities that a server's certificate must come from.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Certificates, Pem}
  alias Palladion.ConfigError

  @doc false
  # DER certificates. `system_roots` is a parameter for the tests.
  @spec parse(map(), (() -> [binary()])) :: {[binary()], [ConfigError.problem()]}
  def parse(values, system_roots \\ &system_roots/0)

  def parse(%{verify: :verify_none} = values, _system_roots) do
    {[], Enum.flat_map([:cacertfile, :cacerts], &without_effect(values, &1))}
  end

  def parse(%{cacertfile: file, cacerts: cacerts}, _system_roots)
      when file != nil and cacerts != nil do
    {[], [problem([:tls, :cacerts], :conflict, "can't be given together with cacertfile:")]}
  end

  def parse(%{cacertfile: nil, cacerts: nil}, system_roots) do
    case system_roots.() do
      [] -> {[], [problem([:tls, :cacertfile], :no_system_roots, system_advice())]}
      roots -> {roots, []}
    end
  end

  def parse(%{cacertfile: nil, cacerts: cacerts}, _system_roots), do: from_list(cacerts)
  def parse(%{cacertfile: file}, _system_roots), do: from_file(file)

  defp without_effect(values, name) do
    if values[name] == nil do
      []
    else
      message = "would have no effect with verify: :verify_none; leave out one of them"
      [problem([:tls, name], :conflict, message)]
    end
  end

  defp from_file(file) do
    with {:ok, blocks} <- Pem.read(file),
         {:ok, certificates} <- Certificates.from_blocks(blocks) do
      {certificates, []}
    else
      {:error, {reason, message}} ->
        {[], [problem([:tls, :cacertfile], reason, "#{inspect(file)} #{message}")]}
    end
  end

  defp from_list([_ | _] = certificates) do
    if List.improper?(certificates), do: not_a_list(), else: check_each(certificates)
  end

  defp from_list(_other), do: not_a_list()

  defp not_a_list do
    {[],
     [problem([:tls, :cacerts], :invalid_value, "must be a non-empty list of DER certificates")]}
  end

  defp check_each(certificates) do
    ders = Enum.map(certificates, &der/1)

    problems =
      for {der, index} <- Enum.with_index(ders), not Certificates.valid?(der) do
        message = "is no DER certificate; a PEM file goes into cacertfile:"
        problem([:tls, :cacerts, index], :malformed, message)
      end

    {ders, problems}
  end

  # What `:public_key.cacerts_get/0` returns, as `:ssl` takes it too.
  defp der({:cert, der, _decoded}), do: der
  defp der(der), do: der

  defp system_roots do
    Enum.map(:public_key.cacerts_get(), &der/1)
  rescue
    _ -> []
  end

  defp system_advice do
    "no root certificates are installed on this system: install them (Debian, Ubuntu, " <>
      "Alpine: the package ca-certificates), or name your own authority's file here"
  end
end
