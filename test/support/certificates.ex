defmodule Palladion.Test.Certificates do
  @moduledoc """
  Certificates and keys for tests, made by OTP while the tests run: nothing expires, and
  no key lies in the repository.
  """

  @doc """
  A root, an intermediate and a leaf with its key, as DER. `key` is what
  `:public_key.pkix_test_data/1` takes: `{:namedCurve, :secp256r1}` or `{:rsa, size, 65_537}`.
  """
  def chain(key \\ {:namedCurve, :secp256r1}) do
    curve = {:namedCurve, :secp256r1}
    chain = %{root: [key: curve], intermediates: [[key: curve]], peer: [key: key]}
    data = :public_key.pkix_test_data(%{server_chain: chain, client_chain: chain})
    server = data.server_config

    # Its own intermediate, and the roots of both sides.
    {[intermediate], [root | _]} = Enum.split_with(server[:cacerts], &(not self_signed?(&1)))

    %{root: root, intermediate: intermediate, leaf: server[:cert], key: server[:key]}
  end

  defp self_signed?(der), do: :public_key.pkix_is_self_signed(der)

  @doc "DER certificates as PEM."
  def pem(certificates) do
    certificates
    |> List.wrap()
    |> Enum.map(&{:Certificate, &1, :not_encrypted})
    |> :public_key.pem_encode()
  end

  @doc "A key as PEM: `:plain`, in its own format, or `:pkcs8`."
  def key_pem(key, format \\ :plain)
  def key_pem({type, der}, :plain), do: :public_key.pem_encode([{type, der, :not_encrypted}])

  def key_pem({type, der}, :pkcs8) do
    record = :public_key.der_decode(type, der)
    info = :public_key.der_encode(:PrivateKeyInfo, record)
    :public_key.pem_encode([{:PrivateKeyInfo, info, :not_encrypted}])
  end

  @doc """
  An authority's list of revoked certificates, empty, as DER: of version 1 without extensions, or
  of version 2. Made by `openssl`.
  """
  def crl!(directory, version) do
    [key, certificate, database, config, crl] =
      for name <- ~w(crl.key crl.crt crl.index crl.cnf crl.der), do: Path.join(directory, name)

    openssl!(
      ~w(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ca -days 2) ++
        ["-keyout", key, "-out", certificate]
    )

    File.write!(database, "")

    File.write!(config, """
    [ca]
    default_ca = this
    [this]
    database = #{database}
    default_md = sha256
    [extensions]
    authorityKeyIdentifier = keyid
    """)

    extensions = if version == 2, do: ~w(-crlexts extensions), else: []

    openssl!(
      ~w(ca -gencrl -crldays 2 -batch -config) ++
        [config, "-keyfile", key, "-cert", certificate, "-out", crl <> ".pem"] ++ extensions
    )

    openssl!(["crl", "-in", crl <> ".pem", "-outform", "DER", "-out", crl])
    File.read!(crl)
  end

  @doc "A DER revocation list as PEM."
  def crl_pem(der), do: :public_key.pem_encode([{:CertificateList, der, :not_encrypted}])

  @doc "Writes a file into the test's directory and returns its path."
  def write!(directory, name, content) do
    path = Path.join(directory, name)
    File.write!(path, content)
    path
  end

  @doc "A directory for the test's files, removed after it: `setup :tmp_dir`."
  def tmp_dir(_context) do
    directory =
      Path.join(
        System.tmp_dir!(),
        "palladion-#{System.pid()}-#{System.unique_integer([:positive])}"
      )

    File.mkdir_p!(directory)
    ExUnit.Callbacks.on_exit(fn -> File.rm_rf!(directory) end)
    %{tmp_dir: directory}
  end

  @doc "What `openssl` makes of a key file: the path of a new file beside it."
  def openssl!(input, name, args) do
    output = Path.join(Path.dirname(input), name)
    openssl!(args ++ ["-in", input, "-out", output])
    output
  end

  @doc "Runs `openssl`, which must succeed."
  def openssl!(args) do
    {text, status} = System.cmd("openssl", args, stderr_to_stdout: true)
    if status != 0, do: raise("openssl #{Enum.join(args, " ")}: #{text}")
  end
end
