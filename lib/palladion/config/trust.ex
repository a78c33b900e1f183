defmodule Palladion.Config.Trust do
  @moduledoc false
  # Internal: what a server's certificate must be for us to trust it: issued by an authority,
  # pinned, not revoked.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Certificates, DerList, Pins, Revocation}
  alias Palladion.ConfigError

  @type t :: %{
          cacerts: [binary()],
          pins: [Pins.pin()],
          crls: [binary()],
          crl_check: Revocation.check()
        }

  @options [:cacertfile, :cacerts, :pinned, :crlfile, :crls, :crl_check]

  @doc false
  # `system_roots` is a parameter for the tests.
  @spec parse(map(), (() -> [binary()])) :: {t(), [ConfigError.problem()]}
  def parse(values, system_roots \\ &system_roots/0)

  def parse(%{verify: :verify_none} = values, _system_roots) do
    {%{cacerts: [], pins: [], crls: [], crl_check: :chain},
     Enum.flat_map(@options, &without_effect(values, &1))}
  end

  def parse(values, system_roots) do
    {cacerts, authority_problems} = authorities(values, system_roots)
    {pins, pin_problems} = Pins.parse(values.pinned)
    {{crls, crl_check}, crl_problems} = Revocation.parse(values)

    {%{cacerts: cacerts, pins: pins, crls: crls, crl_check: crl_check},
     authority_problems ++ pin_problems ++ crl_problems ++ without_authority(values)}
  end

  defp without_effect(values, name) do
    if values[name] == nil do
      []
    else
      message = "would have no effect with verify: :verify_none; leave out one of them"
      [problem([:tls, name], :conflict, message)]
    end
  end

  # What issued a pinned certificate is not asked, so its lists can't be believed.
  defp without_authority(%{cacertfile: nil, cacerts: nil, pinned: pinned} = values)
       when pinned != nil do
    message =
      "would have no effect with pinned: alone; give cacertfile: or cacerts: with the " <>
        "authority that signed the list"

    for name <- [:crlfile, :crls],
        values[name] != nil,
        do: problem([:tls, name], :conflict, message)
  end

  defp without_authority(_values), do: []

  # Authorities

  defp authorities(%{cacertfile: file, cacerts: cacerts}, _system_roots)
       when file != nil and cacerts != nil do
    {[], [problem([:tls, :cacerts], :conflict, "can't be given together with cacertfile:")]}
  end

  defp authorities(%{cacertfile: nil, cacerts: nil, pinned: nil}, system_roots) do
    case system_roots.() do
      [] -> {[], [problem([:tls, :cacertfile], :no_system_roots, system_advice())]}
      roots -> {roots, []}
    end
  end

  defp authorities(%{cacertfile: nil, cacerts: nil}, _system_roots), do: {[], []}
  defp authorities(%{cacertfile: nil, cacerts: cacerts}, _system_roots), do: from_list(cacerts)

  defp authorities(%{cacertfile: file}, _system_roots),
    do: DerList.from_file(file, &Certificates.from_blocks/1, [:tls, :cacertfile])

  defp from_list(certificates) do
    {certificates, problems} =
      DerList.parse(certificates, &check/1, [:tls, :cacerts], "certificates")

    {Enum.map(certificates, &der/1), problems}
  end

  defp check(certificate) do
    if Certificates.valid?(der(certificate)),
      do: :ok,
      else: {:error, {:malformed, "is no DER certificate; a PEM file goes into cacertfile:"}}
  end

  # What `:public_key.cacerts_get/0` returns, as `:ssl` takes it too.
  defp der({:cert, der, _decoded}), do: der
  defp der(der), do: der

  @doc false
  @spec system_roots() :: [binary()]
  def system_roots do
    Enum.map(:public_key.cacerts_get(), &der/1)
  rescue
    _ -> []
  end

  defp system_advice do
    "no root certificates are installed on this system: install them (Debian, Ubuntu, " <>
      "Alpine: the package ca-certificates), or name your own authority's file here"
  end
end
